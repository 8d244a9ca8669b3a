//! THREAD: messages as trees of replies. Pure, and without recursion: threads may be deep.
//!
//! ORDEREDSUBJECT and REFERENCES are those of RFC 5256 §3. REFS is REFERENCES without the gathering
//! by subject, and with its threads in the order of their youngest message.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};

use super::header::field;
use super::sort::{Told, header_item, sent};
use super::subject::{BaseSubject, base_subject};

/// How messages are threaded.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ThreadAlgorithm {
    /// ORDEREDSUBJECT: by subject alone.
    OrderedSubject,
    /// REFERENCES: by what they answer, then by subject.
    References,
    /// REFS: by what they answer.
    Refs,
}

impl ThreadAlgorithm {
    /// Every algorithm.
    pub const ALL: [ThreadAlgorithm; 3] =
        [ThreadAlgorithm::OrderedSubject, ThreadAlgorithm::References, ThreadAlgorithm::Refs];

    /// Its name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            ThreadAlgorithm::OrderedSubject => "ORDEREDSUBJECT",
            ThreadAlgorithm::References => "REFERENCES",
            ThreadAlgorithm::Refs => "REFS",
        }
    }

    /// The FETCH items from which a message's [`Links`] are read.
    pub fn items(self) -> String {
        let fields: &[&str] = match self {
            ThreadAlgorithm::OrderedSubject => &["DATE", "SUBJECT"],
            ThreadAlgorithm::References => {
                &["DATE", "SUBJECT", "MESSAGE-ID", "REFERENCES", "IN-REPLY-TO"]
            }
            ThreadAlgorithm::Refs => &["DATE", "MESSAGE-ID", "REFERENCES", "IN-REPLY-TO"],
        };
        format!("INTERNALDATE {}", header_item(fields))
    }
}

/// Message-IDs as small numbers, the same for the same.
#[derive(Default, Debug)]
pub struct Ids {
    numbers: HashMap<Box<[u8]>, u32>,
    octets: usize,
}

impl Ids {
    fn number(&mut self, id: Vec<u8>) -> u32 {
        // Headers are bounded, and so is what is kept of them: far below 2^32.
        let next = u32::try_from(self.numbers.len()).unwrap_or(u32::MAX);
        let id = id.into_boxed_slice();
        let octets = id.len();
        let number = *self.numbers.entry(id).or_insert(next);
        if number == next {
            self.octets += octets + ENTRY;
        }
        number
    }

    /// Memory they hold, about.
    pub fn octets(&self) -> usize {
        self.octets
    }
}

/// What an entry of the table takes beside the Message-ID itself.
const ENTRY: usize = 48;

/// What of a message decides over its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Links {
    sent: i64,
    subject: BaseSubject,
    id: Option<u32>,
    /// Message-IDs of those it answers, the oldest first.
    references: Box<[u32]>,
}

impl Links {
    /// Reads them from what a server told.
    pub fn new(told: &Told<'_>, ids: &mut Ids) -> Links {
        let fields = told.fields();
        let mut named = |name: &str| -> Vec<u32> {
            let value = field(&fields, name).unwrap_or_default();
            message_ids(&value).map(|id| ids.number(id)).collect()
        };
        let id = named("Message-ID").first().copied();
        let mut references = named("References");
        if references.is_empty() {
            references = named("In-Reply-To");
            references.truncate(1);
        }
        Links {
            sent: sent(&fields, told.arrival),
            subject: base_subject(&field(&fields, "Subject").unwrap_or_default()),
            id,
            references: references.into(),
        }
    }

    /// Memory they hold, about.
    pub fn octets(&self) -> usize {
        size_of::<Links>() + self.subject.text.len() + self.references.len() * size_of::<u32>()
    }
}

/// The Message-IDs in a field, without their brackets, spaces, comments and needless quotes
/// (RFC 5256 §3): `<"a"@b>` is `<a@b>`.
///
/// ```abnf
/// msg-id = [CFWS] "<" id-left "@" id-right ">" [CFWS]      ; RFC 5322 §3.6.4
/// ```
fn message_ids(value: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let mut rest = value;
    std::iter::from_fn(move || {
        loop {
            let open = memchr::memchr(b'<', rest)?;
            rest = rest.get(open + 1..)?;
            if let Some((id, len)) = message_id(rest) {
                rest = rest.get(len..)?;
                return Some(id);
            }
        }
    })
}

/// One Message-ID up to its `>`, and how long it stands there. `None` if it is none.
fn message_id(text: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut id = Vec::new();
    let mut at_sign = false;
    let mut quoted = false;
    let mut octets = text.iter().enumerate();
    while let Some((at, &b)) = octets.next() {
        match b {
            b'"' => quoted = !quoted,
            b'\\' if quoted => id.extend(octets.next().map(|(_, b)| *b)),
            _ if quoted => id.push(b),
            b'>' => return (at_sign && id.len() > 1).then_some((id, at + 1)),
            b'<' => return None,
            b if b.is_ascii_whitespace() => {}
            b => {
                at_sign |= b == b'@';
                id.push(b);
            }
        }
    }
    None
}

/// Threads: trees of messages. A message is known by its place in what was threaded.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Forest {
    nodes: Vec<Node>,
    roots: Vec<usize>,
}

#[derive(Clone, PartialEq, Eq, Default, Debug)]
struct Node {
    /// `None`: a message that is not there, but has been answered. Only roots are.
    message: Option<usize>,
    children: Vec<usize>,
}

impl Forest {
    /// Threads messages, which come in the order of their sequence numbers.
    pub fn new(algorithm: ThreadAlgorithm, messages: &[Links]) -> Forest {
        match algorithm {
            ThreadAlgorithm::OrderedSubject => by_subject(messages),
            ThreadAlgorithm::References => {
                let mut forest = by_references(messages);
                forest.sort_roots(messages);
                forest.gather_subjects(messages);
                forest.sort_roots(messages);
                forest.sort_children(messages);
                forest
            }
            ThreadAlgorithm::Refs => {
                let mut forest = by_references(messages);
                forest.sort_by_youngest(messages);
                forest.sort_children(messages);
                forest
            }
        }
    }

    /// Writes the threads, each message by the number that `number` gives for its place.
    ///
    /// ```abnf
    /// thread-list    = "(" (thread-members / thread-nested) ")"    ; RFC 5256 §5
    /// thread-members = nz-number *(SP nz-number) [SP thread-nested]
    /// thread-nested  = 2*thread-list
    /// ```
    pub fn write(&self, number: impl Fn(usize) -> u32, out: &mut impl Write) -> io::Result<()> {
        // What is still to be written; `None` closes a list.
        let mut left: Vec<Option<usize>> = self.roots.iter().rev().copied().map(Some).collect();
        while let Some(next) = left.pop() {
            let Some(mut node) = next else {
                out.write_all(b")")?;
                continue;
            };
            out.write_all(b"(")?;
            left.push(None);
            let mut space = "";
            loop {
                if let Some(message) = self.nodes[node].message {
                    write!(out, "{space}{}", number(message))?;
                    space = " ";
                }
                match self.nodes[node].children.as_slice() {
                    [] => break,
                    [only] => node = *only,
                    several => {
                        out.write_all(space.as_bytes())?;
                        left.extend(several.iter().rev().copied().map(Some));
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, message: Option<usize>, children: Vec<usize>) -> usize {
        self.nodes.push(Node { message, children });
        self.nodes.len() - 1
    }

    /// Orders messages by when they were sent, then by their sequence numbers.
    fn moment(&self, node: usize, messages: &[Links]) -> (i64, usize) {
        match self.nodes[node].message {
            Some(message) => (messages[message].sent, message),
            // A message that is not there has the date of its first child (RFC 5256 §3, step 4).
            None => {
                let children = self.nodes[node].children.iter();
                let moments = children.filter_map(|child| self.nodes[*child].message);
                moments.map(|message| (messages[message].sent, message)).min().unwrap_or_default()
            }
        }
    }

    /// The subject of a thread: that of its root, or of the root's first child.
    fn subject<'a>(&self, root: usize, messages: &'a [Links]) -> &'a BaseSubject {
        let (_, message) = self.moment(root, messages);
        &messages[message].subject
    }

    fn sort_roots(&mut self, messages: &[Links]) {
        let mut roots = std::mem::take(&mut self.roots);
        roots.sort_by_cached_key(|root| self.moment(*root, messages));
        self.roots = roots;
    }

    fn sort_children(&mut self, messages: &[Links]) {
        for node in 0..self.nodes.len() {
            let mut children = std::mem::take(&mut self.nodes[node].children);
            children.sort_by_cached_key(|child| self.moment(*child, messages));
            self.nodes[node].children = children;
        }
    }

    /// Sorts threads by their youngest message, then by the sequence number of their first.
    fn sort_by_youngest(&mut self, messages: &[Links]) {
        let mut roots = std::mem::take(&mut self.roots);
        roots.sort_by_cached_key(|&root| {
            (self.youngest(root, messages), self.moment(root, messages).1)
        });
        self.roots = roots;
    }

    fn youngest(&self, root: usize, messages: &[Links]) -> i64 {
        let mut youngest = i64::MIN;
        let mut left = vec![root];
        while let Some(node) = left.pop() {
            let node = &self.nodes[node];
            youngest = youngest.max(node.message.map_or(i64::MIN, |m| messages[m].sent));
            left.extend(&node.children);
        }
        youngest
    }

    /// Joins threads of the same subject (RFC 5256 §3, step 5).
    fn gather_subjects(&mut self, messages: &[Links]) {
        let mut table: HashMap<&str, usize> = HashMap::new();
        for &root in &self.roots {
            let subject = self.subject(root, messages);
            if subject.text.is_empty() {
                continue;
            }
            let known = table.entry(&subject.text).or_insert(root);
            let there = |node: usize| self.nodes[node].message.is_some();
            if there(*known)
                && (!there(root) || (self.subject(*known, messages).is_reply && !subject.is_reply))
            {
                *known = root;
            }
        }
        let roots = std::mem::take(&mut self.roots);
        let mut gone = vec![false; self.nodes.len()];
        let mut joined = Vec::new();
        for &root in &roots {
            let subject = self.subject(root, messages);
            let Some(known) = table.get_mut(&*subject.text).filter(|known| **known != root) else {
                continue;
            };
            gone[root] = true;
            let is_reply = |forest: &Forest, node: usize| forest.subject(node, messages).is_reply;
            match (self.nodes[*known].message, self.nodes[root].message) {
                (None, None) => {
                    let children = std::mem::take(&mut self.nodes[root].children);
                    self.nodes[*known].children.extend(children);
                }
                (None, Some(_)) => self.nodes[*known].children.push(root),
                (Some(_), _) if is_reply(self, root) && !is_reply(self, *known) => {
                    self.nodes[*known].children.push(root);
                }
                (Some(_), _) => {
                    gone[*known] = true;
                    let both = vec![*known, root];
                    *known = self.add(None, both);
                    joined.push(*known);
                }
            }
        }
        self.roots = roots.into_iter().filter(|root| !gone[*root]).chain(joined).collect();
    }
}

/// ORDEREDSUBJECT (RFC 5256 §3): the first message of a subject is answered by all others.
fn by_subject(messages: &[Links]) -> Forest {
    let mut order: Vec<usize> = (0..messages.len()).collect();
    order.sort_by_key(|&n| (&messages[n].subject.text, messages[n].sent, n));
    let mut forest = Forest::default();
    for same in order.chunk_by(|a, b| messages[*a].subject.text == messages[*b].subject.text) {
        let Some((first, others)) = same.split_first() else { continue };
        let children = others.iter().map(|&n| forest.add(Some(n), Vec::new())).collect();
        let root = forest.add(Some(*first), children);
        forest.roots.push(root);
    }
    forest.sort_roots(messages);
    forest
}

/// Steps 1 to 3 of REFERENCES (RFC 5256 §3).
fn by_references(messages: &[Links]) -> Forest {
    let mut links = Family::default();
    for (n, message) in messages.iter().enumerate() {
        links.enter(n, message);
    }
    links.into_forest(messages.len())
}

/// So many steps upwards are made altogether to find out whether a link makes a circle: a few for
/// each message of a large mailbox. Only messages that were made up for it need more.
const MOST_STEPS: u64 = 1 << 25;

/// Who answers whom, also of messages that are not there.
#[derive(Default)]
struct Family {
    members: Vec<Member>,
    by_id: HashMap<u32, usize>,
    steps: u64,
}

#[derive(Clone, Copy, Default)]
struct Member {
    message: Option<usize>,
    parent: Option<usize>,
    children: u32,
}

impl Family {
    /// Step 1 for one message.
    fn enter(&mut self, n: usize, message: &Links) {
        let known = message.id.map(|id| self.named(id));
        // Only the first message of a Message-ID has it (RFC 5256 §3).
        let member = match known.filter(|member| self.members[*member].message.is_none()) {
            Some(member) => member,
            None => self.add(),
        };
        self.members[member].message = Some(n);
        let mut parent = None;
        for &id in &message.references {
            let child = self.named(id);
            if let Some(parent) = parent
                && self.members[child].parent.is_none()
            {
                self.link(parent, child);
            }
            parent = Some(child);
        }
        // What others have told of this message's parent counts less than what it tells itself.
        if self.members[member].parent != parent
            && let Some(wrong) = self.members[member].parent.take()
        {
            self.members[wrong].children -= 1;
        }
        if let Some(parent) = parent
            && self.members[member].parent.is_none()
        {
            self.link(parent, member);
        }
    }

    fn named(&mut self, id: u32) -> usize {
        if let Some(&member) = self.by_id.get(&id) {
            return member;
        }
        let member = self.add();
        self.by_id.insert(id, member);
        member
    }

    fn add(&mut self) -> usize {
        self.members.push(Member::default());
        self.members.len() - 1
    }

    /// Makes `parent` the parent of `child`, unless that makes a circle, or it takes too long to
    /// know that.
    fn link(&mut self, parent: usize, child: usize) {
        let mut above =
            Some(parent).filter(|_| parent == child || self.members[child].children > 0);
        while let Some(member) = above {
            if member == child || self.steps >= MOST_STEPS {
                return;
            }
            self.steps += 1;
            above = self.members[member].parent;
        }
        self.members[child].parent = Some(parent);
        self.members[parent].children += 1;
    }

    /// Steps 2 and 3: leaves out who is not there, but for roots with several children.
    fn into_forest(self, messages: usize) -> Forest {
        let mut forest = Forest { nodes: vec![Node::default(); messages], roots: Vec::new() };
        for (n, node) in forest.nodes.iter_mut().enumerate() {
            node.message = Some(n);
        }
        let mut nearest: Vec<Option<Nearest>> = vec![None; self.members.len()];
        let mut orphans: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for member in &self.members {
            let Some(message) = member.message else { continue };
            match member.parent.map(|parent| self.nearest(parent, &mut nearest)) {
                None => forest.roots.push(message),
                Some(Nearest::Message(parent)) => forest.nodes[parent].children.push(message),
                Some(Nearest::Root(root)) => orphans.entry(root).or_default().push(message),
            }
        }
        for (_, children) in orphans {
            match children.as_slice() {
                [only] => forest.roots.push(*only),
                _ => {
                    let root = forest.add(None, children);
                    forest.roots.push(root);
                }
            }
        }
        forest
    }

    /// The nearest message that is there, from this member on upwards; remembered on the way.
    fn nearest(&self, member: usize, known: &mut [Option<Nearest>]) -> Nearest {
        let mut way = Vec::new();
        let mut at = member;
        let found = loop {
            if let Some(found) = known[at] {
                break found;
            }
            way.push(at);
            match (self.members[at].message, self.members[at].parent) {
                (Some(message), _) => break Nearest::Message(message),
                (None, None) => break Nearest::Root(at),
                (None, Some(parent)) => at = parent,
            }
        };
        for member in way {
            known[member] = Some(found);
        }
        found
    }
}

/// Whose child a message is.
#[derive(Clone, Copy)]
enum Nearest {
    /// Of this message.
    Message(usize),
    /// Of this member of the family, which is not there and has no parent.
    Root(usize),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `Message-ID|References|Subject|minute`.
    fn threads(algorithm: ThreadAlgorithm, messages: &[&str]) -> String {
        let mut ids = Ids::default();
        let links: Vec<Links> = messages
            .iter()
            .map(|message| {
                let mut parts = message.split('|');
                let (id, references) = (parts.next().unwrap(), parts.next().unwrap());
                let id: String = id.split_whitespace().map(|id| format!("<{id}@x>")).collect();
                let references: String =
                    references.split_whitespace().map(|id| format!(" <{id}@x>")).collect();
                let (subject, minute) = (parts.next().unwrap(), parts.next().unwrap());
                let block = format!(
                    "Message-ID: {id}\r\nReferences:{references}\r\nSubject: {subject}\r\n\
                     Date: 1 Mar 2016 12:{minute}:00 +0000\r\n\r\n"
                );
                let header = format!("{{{}}}\r\n{block}", block.len());
                Links::new(&Told { header: header.as_bytes(), ..Told::default() }, &mut ids)
            })
            .collect();
        let mut out = Vec::new();
        let number = |n| u32::try_from(n).unwrap() + 1;
        Forest::new(algorithm, &links).write(number, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn references(messages: &[&str]) -> String {
        threads(ThreadAlgorithm::References, messages)
    }

    #[test]
    fn message_ids_are_read_however_they_are_written() {
        let ids = |value: &str| -> Vec<String> {
            let text = |id| String::from_utf8(id).unwrap();
            message_ids(value.as_bytes()).map(text).collect()
        };
        assert_eq!(ids("<a@b> junk <c@d>,<\"e f\"@g>"), ["a@b", "c@d", "e f@g"]);
        assert_eq!(ids("<a@\r\n b>"), ["a@b"]);
        assert_eq!(ids("<none> <> <@> <open@x"), Vec::<String>::new());
        assert_eq!(ids("<a <b@c>"), ["b@c"]);
    }

    #[test]
    fn replies_stand_below_what_they_answer() {
        assert_eq!(
            references(&["a||s|01", "b|a|Re: s|02", "c|a b|Re: s|03", "d|a|Re: s|04", "e||t|00"]),
            "(5)(1 (2 3)(4))"
        );
    }

    #[test]
    fn what_is_not_there_holds_its_answers_together() {
        assert_eq!(references(&["b|a|x|02", "c|a|y|01"]), "((2)(1))");
        assert_eq!(references(&["b|a|x|02", "c|z|y|01"]), "(2)(1)");
        assert_eq!(references(&["c|a b|x|01", "d|a|x|02"]), "((1)(2))");
        assert_eq!(references(&["a||x|01", "d|a b c|x|02"]), "(1 2)");
    }

    #[test]
    fn circles_are_not_closed() {
        assert_eq!(references(&["a|b|x|01", "b|a|y|02"]), "(2 1)");
        assert_eq!(references(&["a|a|x|01"]), "(1)");
        assert_eq!(references(&["a|b c|x|01", "b|c a|y|02", "c|a b|z|03"]).matches('(').count(), 1);
    }

    #[test]
    fn a_message_id_belongs_to_the_first_that_has_it() {
        assert_eq!(references(&["a||x|01", "a||y|02", "b|a|z|03"]), "(1 3)(2)");
        assert_eq!(references(&["|a|x|01", "||y|02"]), "(1)(2)");
    }

    #[test]
    fn threads_of_one_subject_are_one() {
        // A reply without References below what it answers.
        assert_eq!(references(&["a||s|01", "b||Re: s|02"]), "(1 2)");
        // Two that are no replies, or both are, below nobody.
        assert_eq!(references(&["a||s|01", "b||s|02", "c||s|03"]), "((1)(2)(3))");
        assert_eq!(references(&["a||Re: s|01", "b||Re: s|02"]), "((1)(2))");
        // The reply that is older than what it answers.
        assert_eq!(references(&["a||Re: s|01", "b||s|02"]), "(2 1)");
        // Below the root that is not there.
        assert_eq!(references(&["b|a|s|02", "c|a|t|01", "d||t|03"]), "((2)(1)(3))");
        assert_eq!(references(&["a|||01", "b|||02"]), "(1)(2)");
    }

    #[test]
    fn refs_looks_at_no_subject_and_at_the_youngest() {
        let refs = |messages: &[&str]| threads(ThreadAlgorithm::Refs, messages);
        assert_eq!(refs(&["a||s|01", "b||s|02", "c|a|s|03"]), "(2)(1 3)");
        assert_eq!(refs(&["b|a|x|02", "c|a|y|01", "d||z|00"]), "(3)((2)(1))");
    }

    #[test]
    fn orderedsubject_is_flat() {
        let ordered = |messages: &[&str]| threads(ThreadAlgorithm::OrderedSubject, messages);
        assert_eq!(ordered(&["|x|s|03", "||Re: s|01", "||s|02", "||t|00"]), "(4)(2 (3)(1))");
        assert_eq!(ordered(&["||s|03", "||Re: s|01"]), "(2 1)");
        assert_eq!(ordered(&[]), "");
    }

    #[test]
    fn a_thread_may_be_as_deep_as_it_likes() {
        let link = |n: u32| Links {
            sent: i64::from(n),
            subject: base_subject(b""),
            id: Some(n),
            references: if n == 0 { [].into() } else { [n - 1].into() },
        };
        for order in [(0..50_000).collect::<Vec<u32>>(), (0..50_000).rev().collect()] {
            let links: Vec<Links> = order.into_iter().map(link).collect();
            let forest = Forest::new(ThreadAlgorithm::References, &links);
            let mut out = Vec::new();
            forest.write(|_| 7, &mut out).unwrap();
            assert!(!out[1..out.len() - 1].contains(&b'('));
        }
    }

    /// A long chain, and many messages, each answered already, that are said to answer its end: with
    /// each one the whole chain would be gone through.
    #[test]
    fn references_that_were_made_up_for_it_take_no_long_time() {
        const CHAIN: u32 = 40_000;
        let link = |id: u32, reference: u32| Links {
            sent: i64::from(id),
            subject: base_subject(b""),
            id: Some(id),
            references: [reference].into(),
        };
        let mut links: Vec<Links> = (1..CHAIN).map(|n| link(n, n - 1)).collect();
        for n in 0..20_000 {
            let (answered, answer) = (CHAIN + 2 * n, CHAIN + 2 * n + 1);
            links.extend([link(answer, answered), link(answered, CHAIN - 1)]);
        }
        let mut family = Family::default();
        for (n, message) in links.iter().enumerate() {
            family.enter(n, message);
        }
        assert!(family.steps <= MOST_STEPS, "{}", family.steps);
        let forest = Forest::new(ThreadAlgorithm::References, &links);
        let mut out = Vec::new();
        forest.write(|_| 7, &mut out).unwrap();
        assert_eq!(out.iter().filter(|b| **b == b'7').count(), links.len());
    }

    proptest! {
        #[test]
        fn every_message_is_there_once(
            messages in proptest::collection::vec(
                (proptest::option::of(0u32..12), proptest::collection::vec(0u32..12, 0..5),
                 0i64..6, 0u8..4, any::<bool>()),
                0..25,
            ),
            algorithm in proptest::sample::select(&ThreadAlgorithm::ALL[..]),
        ) {
            let link = |(id, references, sent, subject, is_reply): (_, Vec<u32>, _, u8, _)| Links {
                sent,
                subject: BaseSubject { text: "s".repeat(subject.into()).into(), is_reply },
                id,
                references: references.into(),
            };
            let links: Vec<Links> = messages.into_iter().map(link).collect();
            let forest = Forest::new(algorithm, &links);
            let mut out = Vec::new();
            forest.write(|n| u32::try_from(n).unwrap() + 1, &mut out).unwrap();
            let out = String::from_utf8(out).unwrap();
            let mut numbers: Vec<usize> = out
                .split(|c: char| !c.is_ascii_digit())
                .filter(|n| !n.is_empty())
                .map(|n| n.parse().unwrap())
                .collect();
            numbers.sort_unstable();
            prop_assert_eq!(numbers, (1..=links.len()).collect::<Vec<_>>(), "{}", out);
            prop_assert_eq!(out.matches('(').count(), out.matches(')').count());
            prop_assert!(!out.contains("()"));
        }
    }
}
