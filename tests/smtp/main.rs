//! Mail on its way through the proxy: sent by users, taken in for accounts, archived, and refused
//! where it is not what it seems. Beside a few real servers, most of it is played against sinks that
//! misbehave when told to.

#[path = "../lab/mod.rs"]
mod lab;

mod hostile;
mod inbound;
mod journal;
mod kills;
mod phases;
mod real;
mod seen;
mod strict;
mod submission;

use lab::smtp::SinkBuilder;
use lab::{Sink, Talk, World};

/// Two Dovecots that know ann and bob, the proxy, and sinks in the place of both mail servers.
struct Between {
    world: World,
    old: Sink,
    new: Sink,
}

impl Between {
    fn sinks(settings: &[(&str, &str)]) -> Between {
        Between::these(Sink::new(), Sink::new(), settings)
    }

    fn these(old: SinkBuilder, new: SinkBuilder, settings: &[(&str, &str)]) -> Between {
        let (old, new) = (old.start(), new.start());
        let mut builder = World::new()
            .account("ann@example.com", "secret")
            .account("bob@example.com", "secret")
            .set("accounts.domains", "[\"example.com\", \"example.org\"]")
            .set("smtp.hostname", "\"proxy.example\"")
            .set("limits.login_failure_delay", "\"0s\"");
        for (side, port) in [("old", old.port), ("new", new.port)] {
            builder = builder
                .set(
                    &format!("{side}.submission"),
                    &format!("\"submission://127.0.0.1:{port}?tls=none\""),
                )
                .set(&format!("{side}.inbound"), &format!("\"smtp://127.0.0.1:{port}?tls=none\""));
        }
        for (key, value) in settings {
            builder = match key.strip_prefix("file:") {
                Some(name) => builder.file(name, value),
                None => builder.set(key, value),
            };
        }
        Between { world: builder.start(), old, new }
    }

    /// A client of the listener for everybody, who has said EHLO.
    #[track_caller]
    fn stranger(&self) -> Talk {
        let mut talk = Talk::connect(self.world.proxy.mail.smtp);
        talk.expect("EHLO mx.elsewhere.example", "250");
        talk
    }

    /// ann, logged in to send.
    #[track_caller]
    fn ann(&self) -> Talk {
        Talk::logged_in(self.world.proxy.mail.submission, "ann@example.com", "secret")
    }
}

/// What a sink heard that begins so.
fn heard(sink: &Sink, beginning: &str) -> Vec<String> {
    sink.heard().into_iter().filter(|line| line.starts_with(beginning)).collect()
}
