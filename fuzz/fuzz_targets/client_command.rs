//! A client's line: whatever the octets, nothing panics, and what was read can be written and read
//! again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mailferry::imap::command::{Command, parse, parse_append_head};
use mailferry::imap::names;
use mailferry::imap::write::Part;

fuzz_target!(|data: &[u8]| {
    let _ = parse_append_head(data);
    if let Some(name) = names::decode(data) {
        assert_eq!(names::decode(&names::encode(&name)), Some(name));
    }
    let _ = names::matches(data, b"INBOX/a&AOk-/b", Some(b'/'));
    match parse(data).map(|tagged| tagged.command) {
        Ok(Command::Search { key, .. }) => {
            let mut line = b"a SEARCH ".to_vec();
            for part in key.rewrite(&|set, _| Some(set.to_string())).into_vec() {
                match part {
                    Part::Text(text) => {
                        assert!(!text.iter().any(|b| b"\r\n\0".contains(b)));
                        line.extend(text);
                    }
                    Part::Literal(octets) => {
                        line.extend(format!("{{{}}}\r\n", octets.len()).bytes());
                        line.extend(octets);
                    }
                }
            }
            assert!(parse(&line).is_ok(), "{}", line.escape_ascii());
        }
        Ok(Command::Fetch { uid, set, items, .. }) => {
            let mut line = format!("a {}FETCH {set} (", if uid { "UID " } else { "" }).into_bytes();
            for item in &items {
                item.write_to(&mut line);
                line.push(b' ');
            }
            line.push(b')');
            let again = parse(&line).map(|tagged| tagged.command);
            let (changed_since, vanished) = (None, false);
            assert_eq!(again, Ok(Command::Fetch { uid, set, items, changed_since, vanished }));
        }
        Err(err) => assert!(err.to_string().bytes().all(|b| matches!(b, b' '..=b'~'))),
        Ok(_) => {}
    }
});
