//! The power goes at some moment of the traffic, and a file of the index is not what it was: that is noticed, the
//! index is put aside and rebuilt, and no UID means another message (V2, V8).

use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::game::Game;
use crate::lab::{Dice, eventually, quoted};
use crate::{setting, shapes};

/// What becomes of the files.
const DAMAGES: [&str; 11] = [
    "nothing",
    "nothing",
    "nothing",
    "the database cut short",
    "the database's end zeroed",
    "a sector of the database torn",
    "the log cut short",
    "the log's end zeroed",
    "a file of the database gone",
    "the database gone",
    "all gone",
];

/// So often the proxy starts anew before it has found all damage.
const STARTS: usize = 3;

impl Game {
    /// Traffic until the power goes; then the state is what it was at that moment.
    fn lose_power(&mut self) {
        let (pid, state) = (self.world.proxy.pid(), self.world.dir.path().join("proxy/state"));
        let copy = state.with_file_name("cut");
        let wait = Duration::from_millis(30 + self.dice.below(700) as u64);
        let (from, to) = (state.clone(), copy.clone());
        let cutting = thread::spawn(move || {
            thread::sleep(wait);
            signal(pid, "-STOP");
            eventually("it stands still", || {
                let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
                stat.rsplit(") ").next()?.trim_start().starts_with('T').then_some(())
            });
            copy_dir(&from, &to);
            signal(pid, "-KILL");
        });
        self.round(400, Duration::from_secs(5));
        cutting.join().expect("the power went");
        fs::remove_dir_all(&state).expect("the state");
        fs::rename(&copy, &state).expect("the copy");
    }

    fn damage(&mut self, what: &str) {
        let index = self.world.dir.path().join("proxy/state/index");
        let (db, log) = (index.join("db/db"), index.join("epoch.log"));
        let dice = &mut self.dice;
        match what {
            "nothing" => {}
            "the database cut short" => cut(&db, dice),
            "the database's end zeroed" => zero(&db, dice),
            "a sector of the database torn" => {
                let octets = fs::metadata(&db).expect("the database").len() as usize;
                let at = dice.below(octets.max(1)) & !511;
                let mut file = File::options().write(true).open(&db).expect("the database");
                file.seek(SeekFrom::Start(at as u64)).expect("its middle");
                file.write_all(&[0x5a; 512]).expect("a sector");
            }
            "the log cut short" => cut(&log, dice),
            "the log's end zeroed" => zero(&log, dice),
            "a file of the database gone" => {
                let mut files = files_of(&index.join("db"));
                files.sort();
                fs::remove_file(dice.one_of(&files)).expect("a file of the database");
            }
            "the database gone" => fs::remove_dir_all(index.join("db")).expect("the database"),
            "all gone" => {
                fs::remove_file(&log).expect("the log");
                let octets = fs::metadata(&db).expect("the database").len();
                fs::write(&db, vec![0; octets as usize]).expect("the database");
            }
            other => panic!("no damage {other}"),
        }
    }

    /// Starts the proxy until all damage is found. Whether the index was lost, or put aside.
    fn recover(&mut self, lost: bool) -> bool {
        let rebuilt = |game: &Game| game.world.proxy.log().matches("could not be trusted").count();
        let before = rebuilt(self);
        for _ in 0..STARTS {
            self.world.proxy.restart();
            let mut client = self.world.proxy.client();
            let well = self.names.iter().all(|name| {
                client.cmd(&format!("EXAMINE {}", quoted(name))).status == "OK"
                    && client.cmd("UID FETCH 1:* (FLAGS)").status == "OK"
            });
            self.world.proxy.kill9();
            if well {
                let put_aside = lost || rebuilt(self) > before;
                if put_aside {
                    self.model.past.push("-- put aside".to_owned());
                    self.model.rebuilt();
                }
                return put_aside;
            }
        }
        panic!("{}", self.model.say("the damage is never dealt with"));
    }
}

fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill").args([name, &pid.to_string()]).status().expect("kill");
    assert!(sent.success());
}

fn cut(path: &Path, dice: &mut Dice) {
    let file = File::options().write(true).open(path).expect("a file");
    let octets = file.metadata().expect("a size").len() as usize;
    file.set_len((octets - dice.below(octets.max(1))) as u64).expect("cut");
}

fn zero(path: &Path, dice: &mut Dice) {
    let mut octets = fs::read(path).expect("a file");
    let from = octets.len() - dice.below(octets.len().max(1));
    octets[from..].fill(0);
    fs::write(path, octets).expect("zeroed");
}

fn files_of(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("one").path());
    entries.flat_map(|path| if path.is_dir() { files_of(&path) } else { vec![path] }).collect()
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        let kind = fs::symlink_metadata(&path).expect("an entry").file_type();
        if kind.is_dir() {
            copy_dir(&path, &target);
        } else if kind.is_file() {
            fs::copy(&path, target).expect("a copy");
        }
    }
}

#[test]
fn v2_v8_the_power_goes_at_any_moment_and_files_are_damaged() {
    let (rounds, seed) = (setting("CRASH_ROUNDS", 11), setting("CRASH_SEED", 7));
    let (old, new) = shapes();
    let mut game = Game::new(old, new, seed as u64);
    game.once = true;
    game.world.proxy.kill9();
    let mut noticed = 0;
    for round in 0..rounds {
        game.observe();
        game.world.proxy.restart();
        let damage = DAMAGES[(round + seed) % DAMAGES.len()];
        game.model.past.push(format!("-- round {round} of seed {seed}: {damage}"));
        game.model.opened.swap(0, 1);
        game.model.opened[0].clear();
        game.lose_power();
        game.damage(damage);
        noticed += usize::from(game.recover(damage == "all gone"));
    }
    assert!(rounds < DAMAGES.len() || noticed > 1, "no damage was ever noticed");
    game.settle();
}
