//! SORT and THREAD by a server itself: where all messages lie on its side, in the client's order,
//! it knows more quickly what the proxy would first have to fetch.

use std::io::Write as _;

use super::plan::{Plan, Question, is_exact, made_ready, scope};
use crate::account::AccountError;
use crate::backend::{BackendError, Lease, text};
use crate::base::Side;
use crate::imap::command::{SearchKey, SortCriterion, SortKey, ThreadAlgorithm};
use crate::imap::response::Response;
use crate::imap::write::Parts;
use crate::session::imap::reply::Reply;
use crate::uid::{SideUid, Uid, UidSet};

impl Plan {
    /// What one server's own SORT finds. `None`: the proxy is to sort.
    pub(super) async fn sorted_by_server(
        &self,
        criteria: &[SortCriterion],
        key: &SearchKey,
    ) -> Result<Option<Vec<Uid>>, AccountError> {
        let display =
            |c: &SortCriterion| matches!(c.key, SortKey::DisplayFrom | SortKey::DisplayTo);
        let needs = if criteria.iter().any(display) { "SORT=DISPLAY" } else { "SORT" };
        let criteria: Vec<String> = criteria.iter().map(SortCriterion::to_string).collect();
        let command = format!("UID SORT ({}) UTF-8 ", criteria.join(" "));
        let order = Order { needs, command, answer: b"* SORT", exact: false, key };
        let Some((side, line)) = self.ordered(&order).await? else { return Ok(None) };
        let mut cursor = self.view.map.cursor();
        let numbers = line.split(|b| *b == b' ').filter(|number| !number.is_empty());
        let mut uids = Vec::new();
        for number in numbers {
            let Some(uid) = crate::imap::scan::number(number).map(SideUid) else { return Ok(None) };
            uids.extend(cursor.find(side, uid).map(|(uid, _)| uid));
        }
        uids.retain(|uid| self.shown.contains(*uid));
        Ok(Some(uids))
    }

    /// What one server's own THREAD finds, with each number replaced. `None`: the proxy is to
    /// thread.
    pub(super) async fn threaded_by_server(
        &self,
        algorithm: ThreadAlgorithm,
        key: &SearchKey,
        number: impl Fn(Uid) -> Option<u32>,
    ) -> Result<Option<Vec<u8>>, AccountError> {
        let name = algorithm.as_str();
        let order = Order {
            needs: &format!("THREAD={name}"),
            command: format!("UID THREAD {name} UTF-8 "),
            answer: b"* THREAD",
            exact: true,
            key,
        };
        let Some((side, line)) = self.ordered(&order).await? else { return Ok(None) };
        let mut cursor = self.view.map.cursor();
        Ok(renumbered(line.trim_ascii(), |uid| number(cursor.find(side, SideUid(uid))?.0)))
    }

    /// What follows the name of a server's answer, and whose it is.
    async fn ordered(&self, order: &Order<'_>) -> Result<Option<(Side, Vec<u8>)>, AccountError> {
        let Some(side) = self.only_side() else { return Ok(None) };
        // What it refuses is tried without its help.
        let parts = self.on_both(&self.shown, order).await?.unwrap_or_default();
        Ok(parts.into_iter().flatten().next().map(|line| (side, line)))
    }

    /// The side that decides over all messages, if one alone does and numbers them in this order.
    fn only_side(&self) -> Option<Side> {
        let mut only = None;
        let mut last = SideUid(0);
        for run in self.view.map.intersect(&self.shown) {
            let side = run.place.authority();
            let first = run.place.on(side)?;
            if only.is_some_and(|known| known != side) || first <= last {
                return None;
            }
            only = Some(side);
            last = SideUid(first.0 + (run.len - 1));
        }
        only
    }
}

/// What a server is asked to put in order.
struct Order<'a> {
    /// The capability without which it cannot.
    needs: &'a str,
    /// The command up to the program.
    command: String,
    /// What its answer begins with.
    answer: &'a [u8],
    /// Messages that are not shown must not be looked at.
    exact: bool,
    key: &'a SearchKey,
}

impl Question for Order<'_> {
    /// `None`: the server cannot.
    type Part = Option<Vec<u8>>;

    async fn ask(
        &self,
        plan: &Plan,
        lease: &mut Lease,
        wanted: &UidSet<SideUid>,
    ) -> Result<Result<Option<Vec<u8>>, Reply>, BackendError> {
        if !lease.profile().has(self.needs) {
            return Ok(Ok(None));
        }
        let announced = made_ready(lease, self.key, wanted).await?;
        if self.exact && !is_exact(wanted, &announced) {
            return Ok(Ok(None));
        }
        let mut command: Parts = text(&self.command);
        command.text(&format!("UID {} ", scope(wanted, &announced)));
        command.append(plan.translated(self.key, lease.side(), wanted));
        let done = lease.run(&command).await?;
        if !done.is_ok() {
            return Ok(Err(Reply::from_server(&done)));
        }
        Ok(Ok(done.untagged.iter().find_map(|response| match response {
            Response::Other(unit) => unit.strip_prefix(self.answer).map(<[u8]>::to_vec),
            _ => None,
        })))
    }
}

/// Threads with other numbers. `None` if there is no other number for one, or anything else stands
/// there.
fn renumbered(threads: &[u8], mut number: impl FnMut(u32) -> Option<u32>) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(threads.len());
    let mut rest = threads;
    while let Some(&first) = rest.first() {
        let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        let (token, behind) = rest.split_at(digits.max(1));
        match first {
            b'0'..=b'9' => write!(out, "{}", number(crate::imap::scan::number(token)?)?).ok()?,
            b'(' | b')' | b' ' => out.push(first),
            _ => return None,
        }
        rest = behind;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_get_other_numbers_or_are_not_believed() {
        let more = |n| (n < 100).then_some(n + 1000);
        assert_eq!(
            renumbered(b"(1 2 (3)(4))(5)", more).unwrap(),
            b"(1001 1002 (1003)(1004))(1005)"
        );
        assert_eq!(renumbered(b"", more).unwrap(), b"");
        assert_eq!(renumbered(b"(100)", more), None);
        assert_eq!(renumbered(b"(1)\r\nx", more), None);
    }
}
