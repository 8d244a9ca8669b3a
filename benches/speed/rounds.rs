//! Taking turns: each way does its part in every round, each round beginning with another.

use std::future::Future;
use std::time::Instant;

use crate::cpu;
use crate::way::Way;

/// Rounds of a measure, beyond one that only warms up.
pub const ROUNDS: usize = 5;

/// What one way needed in one round.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// What is measured: seconds, unless the measure says otherwise.
    pub value: f64,
    /// Seconds of processor time of everything but the client.
    pub cpu: f64,
}

/// The samples of each way, in the ways' order.
pub type Samples = Vec<Vec<Sample>>;

/// Runs a future to its end on one thread: the load never takes more than one core.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(future)
}

/// Measures [`ROUNDS`] rounds, after one that is not counted. `part` gets its way and the number of the round,
/// and returns what it measured and what was delivered, which must be the same for all ways in a round.
pub async fn rounds<D: PartialEq + std::fmt::Debug>(
    ways: &[Way],
    mut part: impl AsyncFnMut(&Way, usize) -> (f64, D),
) -> Samples {
    let mut samples: Samples = vec![Vec::new(); ways.len()];
    for round in 0..=ROUNDS {
        let mut delivered: Option<D> = None;
        for turn in 0..ways.len() {
            let at = (round + turn) % ways.len();
            let (way, groups) = (&ways[at], groups(&ways[at]));
            let before = cpu::seconds(&groups);
            let (value, what) = part(way, round).await;
            let cpu = cpu::seconds(&groups) - before;
            match &delivered {
                Some(other) => assert_eq!(*other, what, "{} delivers something else", way.name),
                None => delivered = Some(what),
            }
            if round > 0 {
                samples[at].push(Sample { value, cpu });
            }
        }
    }
    samples
}

/// The seconds that something takes.
pub async fn timed<T>(what: impl Future<Output = T>) -> (f64, T) {
    let start = Instant::now();
    let result = what.await;
    (start.elapsed().as_secs_f64(), result)
}

/// All process groups behind a way.
pub fn groups(way: &Way) -> Vec<u32> {
    way.servers.iter().copied().chain(way.proxy).collect()
}
