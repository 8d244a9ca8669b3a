//! The way back with a mailbox of some size: half of it copied, much new, some moved, marked and removed. Then
//! whoever talks to old directly sees everything, exactly once, also where the proxy dies on the way.
//!
//! `ROLLBACK_MESSAGES`, `ROLLBACK_SEED`, `ROLLBACK_KILLS`, `ROLLBACK_OLD` and `ROLLBACK_NEW` make it larger,
//! another one, and over other servers (`tests/lab.sh rollback`).

#![allow(clippy::print_stderr, reason = "how long it took is what it is run for")]

mod lab;

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use lab::{
    Courier, Cyrus, Dialogue, Dice, Dovecot, MAILFERRY, Mail, Seen, Shape, World, eventually,
    everything, mails, quoted,
};

/// What a message is, wherever it lies: the hash of its octets.
type Hash = [u8; 32];
/// The flags of each message that must be in a folder.
type Folder = BTreeMap<Hash, BTreeSet<String>>;

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

fn hash(octets: &[u8]) -> Hash {
    *blake3::hash(octets).as_bytes()
}

/// Every message of a folder once, or not at all.
#[track_caller]
fn held(seen: &[Seen], what: &str) -> Folder {
    let mut folder = Folder::new();
    for message in seen {
        let twice = folder.insert(hash(&message.octets), message.flags.clone());
        assert!(twice.is_none(), "V5: twice {what}: {message:?}");
    }
    folder
}

struct Rollback {
    world: World,
    dice: Dice,
    inbox: Folder,
    work: Folder,
}

impl Rollback {
    fn begin(old: impl Into<Shape>, new: impl Into<Shape>, messages: u32, seed: u64) -> Rollback {
        let world = World::new().old(old).new(new);
        let world = world.seeded(|old, _| {
            old.seed("INBOX", &mails(0..messages));
            old.seed("Work", &mails(messages..messages + 3));
        });
        let [inbox, work] = ["INBOX", "Work"].map(|folder| {
            held(&everything(&mut world.old.client(), &world.old.name(folder)), "on old before")
        });
        Rollback { world, dice: Dice(seed), inbox, work }
    }

    fn on_new(&self) -> usize {
        let told = self.world.new.client().cmd("STATUS INBOX (MESSAGES)");
        told.status_of("INBOX")["MESSAGES"] as usize
    }

    /// Half is copied; as many as one in 25 are new; some are moved, marked and removed.
    fn live(&mut self, messages: usize) {
        let mut client = self.world.proxy.client();
        client.ok("SELECT INBOX");
        let mut from = 1;
        while from <= messages / 2 {
            let to = (from + 499).min(messages / 2);
            client.ok(&format!("FETCH {from}:{to} (BODY.PEEK[])"));
            from = to + 1;
        }
        let until = Instant::now() + Duration::from_secs(600);
        while self.on_new() < messages / 2 {
            assert!(Instant::now() < until, "half is not copied: {}", self.on_new());
            sleep(Duration::from_millis(100));
        }
        let fresh = (messages / 25).max(4) as u32;
        for n in 0..fresh {
            let mail = Mail::of(lab::small(1_000_000 + n));
            self.world.new.deliver("INBOX", &mail);
            self.inbox.insert(hash(&mail.octets), BTreeSet::new());
        }
        lab::eventually_holds(&mut client, "INBOX", self.inbox.len());
        let name = self.world.old.name("Work");
        let work = quoted(&name);
        for n in 0..4 {
            let mail = Mail::of(lab::small(2_000_000 + n));
            client.append(if n % 2 == 0 { "INBOX" } else { &name }, "(\\Answered)", &mail.octets);
            let folder = if n % 2 == 0 { &mut self.inbox } else { &mut self.work };
            folder.insert(hash(&mail.octets), BTreeSet::from(["\\Answered".to_owned()]));
        }
        let seen = everything(&mut client, "INBOX");
        client.ok("SELECT INBOX");
        let some = (messages / 40).max(3);
        let mut untouched: Vec<&Seen> = seen.iter().collect();
        let mut draw = |dice: &mut Dice| untouched.swap_remove(dice.below(untouched.len()));
        for _ in 0..some {
            let marked = draw(&mut self.dice);
            client.ok(&format!("UID STORE {} +FLAGS.SILENT (\\Flagged $Label1)", marked.uid));
            let flags = self.inbox.get_mut(&hash(&marked.octets)).expect("it is there");
            flags.extend(["\\Flagged".to_owned(), "$Label1".to_owned()]);
            let moved = draw(&mut self.dice);
            client.ok(&format!("UID MOVE {} {work}", moved.uid));
            let flags = self.inbox.remove(&hash(&moved.octets)).expect("it is there");
            self.work.insert(hash(&moved.octets), flags);
            let copied = draw(&mut self.dice);
            client.ok(&format!("UID COPY {} {work}", copied.uid));
            let flags = self.inbox[&hash(&copied.octets)].clone();
            self.work.insert(hash(&copied.octets), flags);
            let removed = draw(&mut self.dice);
            client.ok(&format!("UID STORE {} +FLAGS.SILENT (\\Deleted)", removed.uid));
            client.ok(&format!("UID EXPUNGE {}", removed.uid));
            self.inbox.remove(&hash(&removed.octets));
        }
        self.check(&mut client, "through the proxy before");
    }

    fn check(&self, client: &mut Dialogue, what: &str) {
        for (folder, wanted) in [("INBOX", &self.inbox), ("Work", &self.work)] {
            let seen = everything(client, &self.world.old.name(folder));
            let held = held(&seen, what);
            let lost = wanted.keys().filter(|hash| !held.contains_key(*hash)).count();
            let more = seen.iter().filter(|m| !wanted.contains_key(&hash(&m.octets)));
            let more: Vec<&Seen> = more.collect();
            assert!(lost == 0 && more.is_empty(), "{folder} {what}: {lost} lost, {more:?}");
            let others = seen.iter().filter(|m| wanted[&hash(&m.octets)] != m.flags);
            let others: Vec<&Seen> = others.collect();
            assert!(others.is_empty(), "{folder} {what}: other flags: {others:?}");
        }
    }

    /// Asks for phase old, and kills the proxy while that is done. Whether it died in the midst of it.
    fn back_and_killed(&mut self, within: Duration) -> bool {
        // The password that opens both servers.
        let _client = self.world.proxy.client();
        let mut command = Command::new(MAILFERRY);
        command.args(["phase", "ann", "old", "--config"]).arg(self.world.proxy.config());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut asking = command.spawn().expect("mailferry");
        let most = within.as_millis() as u64;
        sleep(Duration::from_millis(self.dice.below(most.max(1))));
        let ended = asking.try_wait().expect("its end").is_some();
        self.world.proxy.kill9();
        asking.wait().expect("its end");
        self.world.proxy.restart();
        !ended
    }

    fn back(&mut self, kills: usize) {
        let mut within = Duration::from_millis(1_500);
        for _ in 0..kills {
            if !self.back_and_killed(within) {
                within /= 2;
            }
        }
        let _client = self.world.proxy.client();
        let begun = Instant::now();
        let told = eventually("what was undecided is decided", || {
            let told = self.world.proxy.run(&["phase", "ann", "old"]);
            told.status.success().then_some(told)
        });
        eprintln!("the way back: {:?} after {kills} kills", begun.elapsed());
        assert!(told.stderr.is_empty(), "{}", String::from_utf8_lossy(&told.stderr));
        self.check(&mut self.world.old.client(), "on old directly");
        self.check(&mut self.world.proxy.client(), "through the proxy after");
    }
}

fn rollback(old: impl Into<Shape>, new: impl Into<Shape>, messages: usize, kills: usize) {
    let seed = setting("ROLLBACK_SEED", 11) as u64;
    let mut story = Rollback::begin(old, new, messages as u32, seed);
    let begun = Instant::now();
    story.live(messages);
    eprintln!("{messages} messages, seed {seed}: half moved in {:?}", begun.elapsed());
    story.back(kills);
}

#[test]
fn v5_after_the_way_back_old_has_everything_once() {
    let named = |name: &str| std::env::var(name).unwrap_or("dovecot".to_owned());
    let old: Shape = match named("ROLLBACK_OLD").as_str() {
        "dovecot" => Dovecot::old_style().into(),
        "courier" => Courier::plain().into(),
        other => panic!("no old server {other}"),
    };
    let new: Shape = match named("ROLLBACK_NEW").as_str() {
        "dovecot" => Dovecot::new_style().into(),
        "cyrus" => Cyrus::styled(true, true).into(),
        other => panic!("no new server {other}"),
    };
    rollback(old, new, setting("ROLLBACK_MESSAGES", 150), setting("ROLLBACK_KILLS", 0));
}

#[test]
fn v5_the_way_back_may_be_killed_and_asked_for_again() {
    rollback(Dovecot::old_style(), Dovecot::new_style(), 100, setting("ROLLBACK_KILLS", 4));
}

#[test]
fn v5_the_way_back_to_a_server_without_uidplus_and_move() {
    let bare = Dovecot::old_style().capabilities("IMAP4rev1 NAMESPACE CHILDREN IDLE SORT QUOTA");
    rollback(bare, Dovecot::new_style(), 60, 1);
}
