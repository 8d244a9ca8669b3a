//! The exposition for Prometheus (OpenMetrics 1.0): what was counted, and what is looked up now.

use std::fmt::Write as _;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::{Admin, Refusal};
use crate::base::{Phase, Side, metrics};

/// What the answer is.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct OfPhase {
    phase: Shown<Phase>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct OfSide {
    side: Shown<Side>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct OfAccount {
    account: String,
}

/// A label that is shown as it is written elsewhere.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Shown<T>(T);

impl<T: std::fmt::Display> EncodeLabelValue for Shown<T> {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        write!(encoder, "{}", self.0)
    }
}

impl Admin {
    /// All metrics, as text.
    pub async fn metrics(&self) -> Result<String, Refusal> {
        let mut registry = Registry::with_prefix("mailferry");
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The running program", build);
        metrics().register(&mut registry);

        let server = &self.server;
        let sessions = Gauge::<i64>::default();
        sessions.set(count(server.roster.list(None).len()));
        registry.register("sessions", "Clients that are logged in, to read or to send", sessions);

        let phases = Family::<OfPhase, Gauge>::default();
        for phase in Phase::ALL {
            phases.get_or_create(&OfPhase { phase: Shown(phase) }).set(0);
        }
        for (_, phase) in server.accounts.known().await? {
            phases.get_or_create(&OfPhase { phase: Shown(phase) }).inc();
        }
        registry.register("accounts", "Accounts ever seen, by phase", phases);

        let away = Family::<OfSide, Gauge>::default();
        for side in Side::BOTH {
            let is = i64::from(server.accounts.is_away(side));
            away.get_or_create(&OfSide { side: Shown(side) }).set(is);
        }
        registry.register("backend_away", "Whether a server cannot be reached", away);

        let (stuck, queued) = (Gauge::<i64>::default(), Gauge::<i64>::default());
        stuck.set(count(server.accounts.index().stuck_messages().await?));
        queued.set(count(server.ferry.queued()));
        registry.register("stuck_messages", "Messages that new refused and that wait", stuck);
        registry.register("copies_queued", "Opened messages that wait to be copied", queued);

        let (limit, slowdown) =
            (Gauge::<f64, AtomicU64>::default(), Gauge::<f64, AtomicU64>::default());
        if let Some(held) = server.ferry.courtesy().held() {
            limit.set(held.octets_per_second);
            slowdown.set(held.slowdown.unwrap_or(0.0));
        }
        registry.register(
            "background_octets_per_second",
            "How fast copying in the background goes at most while clients work; 0: nobody does",
            limit,
        );
        registry.register(
            "background_slowdown",
            "How many times as long clients' commands take because of it; 0: not known",
            slowdown,
        );

        let index = server.accounts.index().clone();
        let octets = tokio::task::spawn_blocking(move || index.octets()).await;
        let size = Gauge::<i64>::default();
        size.set(i64::try_from(octets.map_err(Refusal::failed)?).unwrap_or(i64::MAX));
        registry.register_with_unit("index_size", "The index on its disk", Unit::Bytes, size);

        if server.config.admin.metrics_per_account {
            self.per_account(&mut registry).await?;
        }
        let mut text = String::new();
        encode(&mut text, &registry).map_err(Refusal::failed)?;
        Ok(text)
    }

    async fn per_account(&self, registry: &mut Registry) -> Result<(), Refusal> {
        let messages = Family::<OfAccount, Gauge>::default();
        let copied = Family::<OfAccount, Gauge>::default();
        let stuck = Family::<OfAccount, Gauge>::default();
        let sessions = Family::<OfAccount, Gauge>::default();
        for account in self.status(None).await?.accounts {
            let label = OfAccount { account: account.account };
            messages.get_or_create(&label).set(count(account.messages));
            copied.get_or_create(&label).set(count(account.copied));
            stuck.get_or_create(&label).set(count(account.stuck));
            sessions.get_or_create(&label).set(count(account.sessions));
        }
        registry.register("account_messages", "Messages of an account that lie on old", messages);
        registry.register("account_copied", "Those of them that lie on new as well", copied);
        registry.register("account_stuck", "Those of them that new refused", stuck);
        registry.register("account_sessions", "Its clients that are logged in", sessions);
        Ok(())
    }
}

fn count(n: impl TryInto<i64>) -> i64 {
    n.try_into().unwrap_or(i64::MAX)
}
