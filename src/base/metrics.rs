//! What is counted while the proxy runs: one set of counters for the whole process.
//!
//! Whoever does something counts it here; how it is shown is `admin`'s. What can be looked up when
//! it is asked for (sessions, accounts, the index) is not counted here.

use std::sync::LazyLock;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::Side;

/// Seconds: from a cached answer on loopback to a search over a large mailbox.
const BUCKETS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 120.0];

/// All counters.
pub struct Metrics {
    client: Family<ClientLabels, Histogram, Buckets>,
    backend: Family<BackendLabels, Histogram, Buckets>,
    errors: Family<ErrorLabels, Counter>,
    copied: Counter,
    copied_octets: Counter,
    refused: Counter,
    mail: Family<MailLabels, Counter>,
    mail_octets: Family<ListenerLabels, Counter>,
    mail_sessions: Family<ListenerLabels, Gauge>,
    journal: Family<JournalLabels, Counter>,
    flawed: Family<FlawLabels, Counter>,
}

/// How a command ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, EncodeLabelValue)]
#[allow(non_camel_case_types, reason = "the names are the labels' values")]
pub enum Outcome {
    /// It was done.
    ok,
    /// It was refused.
    no,
    /// It was wrong.
    bad,
}

/// What became of a message on its way through the proxy.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, EncodeLabelValue)]
#[allow(non_camel_case_types, reason = "the names are the labels' values")]
pub enum Mailed {
    /// A server has it.
    accepted,
    /// Its sender shall come again.
    deferred,
    /// Nobody wants it.
    refused,
}

/// What went wrong with a server.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, EncodeLabelValue)]
#[allow(non_camel_case_types, reason = "the names are the labels' values")]
pub enum Trouble {
    /// It could not be reached.
    connect,
    /// It refused a login.
    login,
    /// A connection broke, or nothing came in time.
    lost,
    /// It said what it should not.
    protocol,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct ClientLabels {
    command: &'static str,
    outcome: Outcome,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct BackendLabels {
    side: &'static str,
    command: &'static str,
    outcome: Outcome,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct ErrorLabels {
    side: &'static str,
    kind: Trouble,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct MailLabels {
    listener: &'static str,
    /// `none` if no server was asked for it.
    side: &'static str,
    outcome: Mailed,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct ListenerLabels {
    listener: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct JournalLabels {
    outcome: Mailed,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct FlawLabels {
    flaw: &'static str,
}

/// A client that sends, for as long as it is connected.
pub struct MailSession(Gauge);

impl Drop for MailSession {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[derive(Clone)]
struct Buckets;

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(BUCKETS)
    }
}

/// The counters of this process.
pub fn metrics() -> &'static Metrics {
    static METRICS: LazyLock<Metrics> = LazyLock::new(|| Metrics {
        client: Family::new_with_constructor(Buckets),
        backend: Family::new_with_constructor(Buckets),
        errors: Family::default(),
        copied: Counter::default(),
        copied_octets: Counter::default(),
        refused: Counter::default(),
        mail: Family::default(),
        mail_octets: Family::default(),
        mail_sessions: Family::default(),
        journal: Family::default(),
        flawed: Family::default(),
    });
    &METRICS
}

impl Metrics {
    /// A client's command has been answered. `command` is one of few names, never what was sent.
    pub fn answered(&self, command: &'static str, outcome: Outcome, took: Duration) {
        let labels = ClientLabels { command, outcome };
        self.client.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// A server has answered a command, `took` after it was queued.
    pub fn asked(&self, side: Side, command: &'static str, outcome: Outcome, took: Duration) {
        let labels = BackendLabels { side: name(side), command, outcome };
        self.backend.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// Something went wrong with a server.
    pub fn trouble(&self, side: Side, kind: Trouble) {
        self.errors.get_or_create(&ErrorLabels { side: name(side), kind }).inc();
    }

    /// A message lies on new from now on.
    pub fn copied(&self, messages: u64, octets: u64) {
        self.copied.inc_by(messages);
        self.copied_octets.inc_by(octets);
    }

    /// New refused a message.
    pub fn refused(&self) {
        self.refused.inc();
    }

    /// A message has come by a listener, `submission`, `smtp` or `trusted`, and got its answer.
    pub fn mailed(&self, listener: &'static str, side: Option<Side>, outcome: Mailed, octets: u64) {
        let side = side.map_or("none", name);
        self.mail.get_or_create(&MailLabels { listener, side, outcome }).inc();
        if outcome == Mailed::accepted {
            self.mail_octets.get_or_create(&ListenerLabels { listener }).inc_by(octets);
        }
    }

    /// A client has connected to such a listener, and is until what is returned is dropped.
    #[must_use = "the session counts as long as this lives"]
    pub fn mail_session(&self, listener: &'static str) -> MailSession {
        let sessions = self.mail_sessions.get_or_create(&ListenerLabels { listener }).clone();
        sessions.inc();
        MailSession(sessions)
    }

    /// The archive was given a message, or would have been.
    pub fn journaled(&self, outcome: Mailed) {
        self.journal.get_or_create(&JournalLabels { outcome }).inc();
    }

    /// A message was refused because two servers could read it in two ways.
    pub fn flawed(&self, flaw: &'static str) {
        self.flawed.get_or_create(&FlawLabels { flaw }).inc();
    }

    /// Has all of them shown.
    pub fn register(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "command",
            "From a client's command to the proxy's answer; of IDLE, its length",
            Unit::Seconds,
            self.client.clone(),
        );
        registry.register_with_unit(
            "backend_command",
            "From a command to a server's answer, by side",
            Unit::Seconds,
            self.backend.clone(),
        );
        registry.register("backend_errors", "What went wrong with a server", self.errors.clone());
        registry.register("copies", "Messages copied to new", self.copied.clone());
        registry.register_with_unit(
            "copied",
            "Octets of messages copied to new",
            Unit::Bytes,
            self.copied_octets.clone(),
        );
        registry.register(
            "copies_refused",
            "Messages that new refused, each time that it did",
            self.refused.clone(),
        );
        registry.register(
            "mail_messages",
            "Messages sent through the proxy, by listener, side and what became of them",
            self.mail.clone(),
        );
        registry.register_with_unit(
            "mail",
            "Octets of messages that were accepted",
            Unit::Bytes,
            self.mail_octets.clone(),
        );
        registry.register(
            "mail_sessions",
            "Clients that are connected to send, logged in or not",
            self.mail_sessions.clone(),
        );
        registry.register(
            "journal_messages",
            "Messages for the archive, by what became of them there",
            self.journal.clone(),
        );
        registry.register(
            "mail_flawed",
            "Messages refused because servers could disagree on where they end",
            self.flawed.clone(),
        );
    }
}

fn name(side: Side) -> &'static str {
    match side {
        Side::Old => "old",
        Side::New => "new",
    }
}
