//! `Phase`: which of the two servers an account's mail is served from.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Side;

/// How far an account's move has come (DESIGN §1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Only the old server is contacted.
    Old,
    /// Both servers are contacted, and their mail is shown as one.
    Merged,
    /// Only the new server is contacted.
    New,
}

impl Phase {
    /// All phases, in the order of a move.
    pub const ALL: [Phase; 3] = [Phase::Old, Phase::Merged, Phase::New];

    /// Whether clients are served from this side.
    pub fn has(self, side: Side) -> bool {
        match self {
            Phase::Old => side == Side::Old,
            Phase::Merged => true,
            Phase::New => side == Side::New,
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::Old => "old",
            Phase::Merged => "merged",
            Phase::New => "new",
        })
    }
}

/// Not the name of a phase.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{}` is no phase: it is `old`, `merged` or `new`", .0.escape_debug())]
pub struct NoPhase(String);

impl FromStr for Phase {
    type Err = NoPhase;

    fn from_str(text: &str) -> Result<Phase, NoPhase> {
        let found = Phase::ALL.into_iter().find(|phase| phase.to_string() == text);
        found.ok_or_else(|| NoPhase(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_is_read_as_it_is_written() {
        for phase in Phase::ALL {
            assert_eq!(phase.to_string().parse(), Ok(phase));
        }
        assert!("Merged".parse::<Phase>().is_err() && "".parse::<Phase>().is_err());
    }

    #[test]
    fn a_phase_has_the_sides_it_is_named_after() {
        let sides = |phase: Phase| Side::BOTH.map(|side| phase.has(side));
        assert_eq!(Phase::ALL.map(sides), [[true, false], [true, true], [false, true]]);
    }
}
