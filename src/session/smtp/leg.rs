//! The session's own connections to the servers.

use tracing::warn;

use super::{Role, Session, SmtpOffers};
use crate::backend::{SmtpConn, SmtpError};
use crate::base::Side;
use crate::smtp::Reply;

impl Session {
    /// A connection to a side, ready for MAIL: the one there is, or a new one. It is the caller's
    /// until it is put back; who drops it closes it.
    pub(super) async fn leg(&mut self, side: Side) -> Result<SmtpConn, SmtpError> {
        if let Some(mut leg) = self.legs[side].take()
            && !leg.is_gone()
        {
            return Ok(leg);
        }
        let config = &self.server.config;
        let Some(server) = SmtpOffers::server(config, self.role, side) else {
            return Err(SmtpError::Protocol {
                server: format!("{side} server"),
                what: "the configuration does not say where it takes mail".to_owned(),
            });
        };
        // Where the client is one of the servers, its address says nothing of where mail is from.
        let forwarded = match self.role {
            Role::Submission => None,
            Role::Inbound { trusted } => {
                let real = self.wire.addresses().ok().map(|(client, _)| client);
                Some(&self.peer).filter(|peer| !trusted || Some(peer.client) != real)
            }
        };
        let mut leg =
            SmtpConn::open(server, &config.smtp.hostname, forwarded, &config.limits).await?;
        self.server.smtp.note(self.role, side, &leg);
        if let Some(user) = &self.user {
            let login = user.logins[side].as_ref().ok_or_else(|| SmtpError::Protocol {
                server: format!("{side} server"),
                what: "the table of logins has no line for the account".to_owned(),
            })?;
            leg.login(login).await?;
        }
        Ok(leg)
    }

    /// Closes the connections to the servers.
    pub(super) fn forget_legs(&mut self) {
        for leg in [self.legs.old.take(), self.legs.new.take()].into_iter().flatten() {
            tokio::spawn(leg.quit());
        }
    }
}

/// What the client is told of a server that could not do what it must: nothing of its own words
/// where they were not meant for the client.
pub(super) fn failed(error: &SmtpError) -> Reply {
    warn!("{error}");
    match error {
        SmtpError::Connect { .. } | SmtpError::Lost { .. } => {
            Reply::new(451, "4.4.1 The mail server cannot be reached, try again later")
        }
        SmtpError::Refused { .. } | SmtpError::Answer { .. } | SmtpError::Protocol { .. } => {
            Reply::new(451, "4.3.0 The mail server does not take mail from here, try again later")
        }
    }
}

/// A server's reply as the client gets it. 421 is about the server's connection, not the client's;
/// anything but done, later, never is no answer to what was asked.
pub(super) fn passed_on(reply: Reply) -> Reply {
    let code = reply.code();
    if code.0 == 421 {
        reply.recoded(451, "4.3.2")
    } else if code.is_intermediate() {
        reply.recoded(451, "4.3.0")
    } else {
        reply.enhanced()
    }
}
