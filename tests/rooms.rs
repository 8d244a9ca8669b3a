//! The order of the rooms, as the crate's documentation has it: a room uses only rooms above it.

use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn a_room_uses_only_rooms_above_it() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let documented = fs::read_to_string(source.join("lib.rs")).expect("lib.rs");
    let rooms: Vec<&str> = documented
        .lines()
        .filter_map(|line| line.strip_prefix("//! | [`")?.split('`').next())
        .collect();
    for module in documented.lines().filter_map(|line| line.strip_prefix("pub mod ")) {
        assert!(rooms.contains(&module.trim_end_matches(';')), "{module} is not in the table");
    }
    for (at, room) in rooms.iter().enumerate() {
        for file in files(&source.join(room)) {
            let text = fs::read_to_string(&file).expect("a source file");
            for used in text.split("crate::").skip(1) {
                let used: String =
                    used.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
                let Some(uses) = rooms.iter().position(|known| *known == used) else { continue };
                assert!(uses <= at, "{} uses {used}, which is below {room}", file.display());
            }
        }
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|e| e == "rs"))
        .collect()
}
