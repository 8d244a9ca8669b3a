//! Bringing a mailbox into a state: messages carried to new, because they were opened through the proxy.

use std::time::{Duration, Instant};

use crate::client::{Client, Wire};
use crate::way::{Field, USER, Way};

/// Opened together: as many as the copier takes at once, so that it carries them in the order opened.
const TOGETHER: usize = 32;

/// Opened before waiting: the copier's queue is bounded.
const QUEUED: usize = 16_000;

/// How long carrying what was queued may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// The numbers 1 to `count` in an order without pattern, the same every time.
pub fn shuffled(count: u32) -> Vec<u32> {
    let mut numbers: Vec<u32> = (1..=count).collect();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for at in (1..numbers.len()).rev() {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        numbers.swap(at, ((state >> 33) as usize) % (at + 1));
    }
    numbers
}

/// Opens these messages through the proxy in this order, and waits until new holds `total`.
pub async fn carry(field: &Field, folder: (&str, &str), uids: &[u32], total: usize) {
    carry_for(field, USER, folder, uids, total).await;
}

/// The same for another account than the usual one.
pub async fn carry_for(
    field: &Field,
    user: &str,
    folder: (&str, &str),
    uids: &[u32],
    total: usize,
) {
    let ways = field.ways();
    let mut client = Client::login_as(&ways[1], &Wire::Plain, user).await;
    client.run(&format!("SELECT {}", folder.0)).await;
    let before = total - uids.len();
    for (n, queued) in uids.chunks(QUEUED).enumerate() {
        for group in queued.chunks(TOGETHER) {
            let set: Vec<String> = group.iter().map(u32::to_string).collect();
            client.run(&format!("UID FETCH {} (BODY.PEEK[])", set.join(","))).await;
        }
        new_holds(field, user, folder.1, before + n * QUEUED + queued.len()).await;
    }
    client.logout().await;
}

/// Waits until an account's folder on new holds this many messages.
pub async fn new_holds(field: &Field, user: &str, folder: &str, count: usize) {
    let way = Way { plain: field.world.new.port, ..field.ways()[0].clone() };
    let mut client = Client::login_as(&way, &Wire::Plain, user).await;
    let until = Instant::now() + PATIENCE;
    let wanted = format!("(MESSAGES {count})");
    loop {
        client.run(&format!("STATUS {folder} (MESSAGES)")).await;
        if client.numbers.contains(&wanted) {
            return client.logout().await;
        }
        assert!(Instant::now() < until, "new does not get {count} messages: {}", client.numbers);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
