//! QUOTA (RFC 2087, RFC 9208): what new says, for new is where room is needed.

use super::reply::{Failure, Reply};
use super::{Session, User};
use crate::account::command;
use crate::backend::Want;
use crate::base::{MailboxName, Side};
use crate::imap::response::Response;
use crate::imap::write::{self, Parts};

impl Session {
    /// GETQUOTA.
    pub(super) async fn get_quota(&mut self, user: &User, root: &[u8]) -> Result<Reply, Failure> {
        let mut ask = Parts::new();
        ask.text("GETQUOTA ").astring(root);
        self.ask_quota(user, &ask, None).await
    }

    /// GETQUOTAROOT. A mailbox that is not on new yet would be made where INBOX is.
    pub(super) async fn get_quota_root(
        &mut self,
        user: &User,
        name: &MailboxName,
    ) -> Result<Reply, Failure> {
        let mailbox = user.account.mailbox(&user.access, name).await?;
        let on_it = mailbox.view().names[quotas_side(user)].clone();
        let on_it = on_it.unwrap_or_else(MailboxName::inbox);
        self.ask_quota(user, &command("GETQUOTAROOT ", &on_it), Some(name)).await
    }

    async fn ask_quota(
        &mut self,
        user: &User,
        ask: &Parts,
        name: Option<&MailboxName>,
    ) -> Result<Reply, Failure> {
        let mut lease = user.access.pools[quotas_side(user)].lend(&Want::Nothing).await?;
        if !lease.profile().can("QUOTA") {
            lease.give_back();
            return Ok(Reply::bad("QUOTA is not offered"));
        }
        let done = lease.run(ask).await?;
        lease.give_back();
        for response in &done.untagged {
            let line = match (response, name) {
                (Response::QuotaRoot { roots, .. }, Some(name)) => {
                    let mut line = b"* QUOTAROOT ".to_vec();
                    write::mailbox(name, self.extended.spelling(), &mut line);
                    for root in roots {
                        line.push(b' ');
                        write::string_or_literal(root, &mut line);
                    }
                    line
                }
                (Response::Quota { root, resources }, _) => {
                    let mut line = b"* QUOTA ".to_vec();
                    write::string_or_literal(root, &mut line);
                    let resource = |(name, usage, limit): &(bytes::Bytes, u64, u64)| {
                        format!("{} {usage} {limit}", String::from_utf8_lossy(name))
                    };
                    let resources: Vec<String> = resources.iter().map(resource).collect();
                    line.extend_from_slice(format!(" ({})", resources.join(" ")).as_bytes());
                    line
                }
                _ => continue,
            };
            self.client.line(line);
        }
        Ok(Reply::from_server(&done))
    }
}

/// The side whose space a client uses up.
fn quotas_side(user: &User) -> Side {
    if user.account.phase().has(Side::New) { Side::New } else { Side::Old }
}
