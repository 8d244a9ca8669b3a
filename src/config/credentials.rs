//! How the proxy logs in to a server for a user (DESIGN §8).

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::base::{AccountName, Proof, SecretString};

/// How to log in to one server.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// What the user is called there.
    pub login: LoginTemplate,
    /// Whose password is shown.
    pub mode: Mode,
}

/// Whose password opens a user's mailboxes on a server.
#[derive(Clone, Debug)]
pub enum Mode {
    /// The user's own, as the client sent it.
    Same,
    /// An administrator's, who may act for every user.
    Master(Master),
    /// One for each account, from a file.
    Table(Table),
    /// The user's own; in the background, as the latest login showed it. It is kept sealed with a key
    /// that is made of this text.
    Learned(SecretString),
}

/// Logins and passwords of accounts on one server, as a file gives them.
#[derive(Clone, Debug)]
pub struct Table {
    /// The file, for what is said of it.
    pub file: PathBuf,
    /// Each account's row.
    pub rows: BTreeMap<AccountName, Row>,
}

/// What a table says of an account.
#[derive(Clone, Debug)]
pub struct Row {
    /// The user's name on the server; `None`: as the template says.
    pub login: Option<String>,
    /// The password there.
    pub password: SecretString,
}

/// An administrator's login.
#[derive(Clone, Debug)]
pub struct Master {
    /// The administrator's user name.
    pub user: String,
    /// The administrator's password.
    pub password: SecretString,
    /// How the server is told whose mail is wanted.
    pub style: MasterStyle,
}

/// How a server is told for whom an administrator logs in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MasterStyle {
    /// By the authorization identity of SASL PLAIN (RFC 4616).
    Authzid,
    /// By a user name of the form user, separator, administrator, as in `ann*migrator`.
    Separator(String),
}

impl Credentials {
    /// The client's own name and password.
    pub fn same() -> Credentials {
        Credentials { login: LoginTemplate::as_typed(), mode: Mode::Same }
    }

    /// What is shown to the server that judges a client's own password or token, whatever the mode:
    /// with another one everybody would be let in.
    pub fn own(&self, typed_user: &str, account: &AccountName, proof: &Proof) -> BackendLogin {
        let authcid = self.login.fill(typed_user, account);
        BackendLogin { authzid: None, authcid, proof: proof.clone() }
    }

    /// What is shown to the server where no client is there to ask; `None`: its password is needed.
    pub fn for_background(&self, account: &AccountName) -> Option<BackendLogin> {
        match &self.mode {
            Mode::Same | Mode::Learned(_) => None,
            // No client typed anything: what would be typed is the account's name.
            _ => {
                self.for_login(account.as_str(), account, &Proof::Password(SecretString::from("")))
            }
        }
    }

    /// What is shown to the server for a client that showed `typed_user` and `proof` and is
    /// known as `account`, where the other server judges. `None`: the table says nothing of it.
    ///
    /// A name that holds the separator itself gains nothing by it: wherever the server cuts, what
    /// stands behind the cut must be an administrator, and what stands before it is no account.
    pub fn for_login(
        &self,
        typed_user: &str,
        account: &AccountName,
        proof: &Proof,
    ) -> Option<BackendLogin> {
        let login = self.login.fill(typed_user, account);
        Some(match &self.mode {
            Mode::Same | Mode::Learned(_) => self.own(typed_user, account, proof),
            Mode::Table(table) => {
                let row = table.rows.get(account)?;
                BackendLogin {
                    authzid: None,
                    authcid: row.login.clone().unwrap_or(login),
                    proof: Proof::Password(row.password.clone()),
                }
            }
            Mode::Master(Master { user, password, style: MasterStyle::Authzid }) => BackendLogin {
                authzid: Some(login),
                authcid: user.clone(),
                proof: Proof::Password(password.clone()),
            },
            Mode::Master(Master { user, password, style: MasterStyle::Separator(separator) }) => {
                BackendLogin {
                    authzid: None,
                    authcid: format!("{login}{separator}{user}"),
                    proof: Proof::Password(password.clone()),
                }
            }
        })
    }
}

/// What is shown to one server for one user.
#[derive(Clone, Debug)]
pub struct BackendLogin {
    /// For whom, if that is another than who logs in.
    pub authzid: Option<String>,
    /// Who logs in.
    pub authcid: String,
    /// That one's password, or token.
    pub proof: Proof,
}

/// How a user's name on a server is made of what is known: `"{local}@new.example.com"`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoginTemplate(Vec<Piece>);

#[derive(Clone, PartialEq, Eq, Debug)]
enum Piece {
    Text(String),
    User,
    Local,
    Domain,
    Account,
}

impl LoginTemplate {
    /// `{user}`: what the client typed.
    pub fn as_typed() -> LoginTemplate {
        LoginTemplate(vec![Piece::User])
    }

    /// This login, whoever it is for.
    pub fn exactly(login: String) -> LoginTemplate {
        LoginTemplate(vec![Piece::Text(login)])
    }

    /// Reads a template; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<LoginTemplate, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let literal = rest.find(['{', '}']).unwrap_or(rest.len());
            let (before, from_brace) = rest.split_at(literal);
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            let Some(inside) = from_brace.strip_prefix('{') else {
                if from_brace.is_empty() {
                    break;
                }
                return Err("a `}` without its `{`".into());
            };
            let Some((name, behind)) = inside.split_once('}') else {
                return Err("a `{` without its `}`".into());
            };
            pieces.push(match name {
                "user" => Piece::User,
                "local" => Piece::Local,
                "domain" => Piece::Domain,
                "account" => Piece::Account,
                _ => {
                    return Err(format!(
                        "unknown `{{{}}}`; known are {{user}}, {{local}}, {{domain}} and {{account}}",
                        name.escape_debug()
                    ));
                }
            });
            rest = behind;
        }
        // Without one of these, every user would be let into one and the same mailbox.
        if !pieces.iter().any(|p| matches!(p, Piece::User | Piece::Local | Piece::Account)) {
            return Err("must hold {user}, {local} or {account}, or all users would be one".into());
        }
        if text.chars().any(char::is_control) {
            return Err("must not hold control characters".into());
        }
        Ok(LoginTemplate(pieces))
    }

    /// The user's name on the server.
    pub fn fill(&self, typed_user: &str, account: &AccountName) -> String {
        self.0
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) => text.as_str(),
                // As the account's name was read: white space around it is not part of it.
                Piece::User => typed_user.trim(),
                Piece::Local => account.local(),
                Piece::Domain => account.domain(),
                Piece::Account => account.as_str(),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Proof {
        Proof::Password(SecretString::from(text))
    }

    fn login(template: &str, mode: Mode) -> BackendLogin {
        let account = AccountName::canonical("Ann@Example.com", None).unwrap();
        Credentials { login: LoginTemplate::parse(template).unwrap(), mode }
            .for_login("Ann@Example.com", &account, &password("her own"))
            .unwrap()
    }

    fn master(style: MasterStyle) -> Mode {
        Mode::Master(Master {
            user: "migrator".into(),
            password: SecretString::from("the master's"),
            style,
        })
    }

    #[test]
    fn same_shows_the_clients_own_password() {
        let login = login("{user}", Mode::Same);
        assert_eq!((login.authzid.as_deref(), &*login.authcid), (None, "Ann@Example.com"));
        assert_eq!(login.proof.expose_secret(), "her own");
    }

    #[test]
    fn master_by_authzid() {
        let login = login("{local}@new.{domain}", master(MasterStyle::Authzid));
        assert_eq!(login.authzid.as_deref(), Some("ann@new.example.com"));
        assert_eq!(login.authcid, "migrator");
        assert_eq!(login.proof.expose_secret(), "the master's");
    }

    #[test]
    fn master_by_separator() {
        let login = login("{account}", master(MasterStyle::Separator("*".into())));
        assert_eq!(login.authzid, None);
        assert_eq!(login.authcid, "ann@example.com*migrator");
        assert_eq!(login.proof.expose_secret(), "the master's");
    }

    #[test]
    fn a_table_has_a_password_for_each_account_and_a_login_if_it_says_so() {
        let name = |name: &str| AccountName::canonical(name, None).unwrap();
        let row = |login: Option<&str>| Row {
            login: login.map(str::to_owned),
            password: SecretString::from("the table's"),
        };
        let rows = [(name("ann@a.org"), row(None)), (name("bob@a.org"), row(Some("robert")))];
        let table = Table { file: "users.csv".into(), rows: rows.into() };
        let credentials = Credentials {
            login: LoginTemplate::parse("{local}").unwrap(),
            mode: Mode::Table(table),
        };
        let own = password("her own");
        let shown = |account: &str| {
            let login = credentials.for_login("typed", &name(account), &own);
            login.map(|login| (login.authcid, login.proof.expose_secret().to_owned()))
        };
        assert_eq!(shown("ann@a.org").unwrap(), ("ann".into(), "the table's".into()));
        assert_eq!(shown("bob@a.org").unwrap(), ("robert".into(), "the table's".into()));
        assert_eq!(shown("eve@a.org"), None, "her own password is not tried in its place");
        let background = credentials.for_background(&name("bob@a.org")).unwrap();
        assert_eq!(background.authcid, "robert");
        let own = credentials.own("bob", &name("bob@a.org"), &own);
        assert_eq!(own.proof.expose_secret(), "her own", "for the side that judges");
        assert!(Credentials::same().for_background(&name("bob@a.org")).is_none());
        assert!(!format!("{credentials:?}").contains("table's"), "V9");
    }

    #[test]
    fn learned_shows_the_clients_own_password_and_v9_never_its_key() {
        let mode = Mode::Learned(SecretString::from("the key"));
        let login = login("{user}", mode.clone());
        assert_eq!(login.proof.expose_secret(), "her own");
        assert!(!format!("{mode:?}").contains("the key"));
    }

    #[test]
    fn templates_that_make_no_sense() {
        for bad in ["", "everyone", "{domain}", "{user", "user}", "{{user}}", "{User}", "{user}\0"]
        {
            assert!(LoginTemplate::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn v9_no_secret_in_debug() {
        for style in [MasterStyle::Authzid, MasterStyle::Separator("*".into())] {
            let mode = master(style);
            let shown = format!("{mode:?} {:?}", login("{user}", mode.clone()));
            assert!(!shown.contains("master's"), "{shown}");
        }
        let shown = format!("{:?}", login("{user}", Mode::Same));
        assert!(!shown.contains("her own") && shown.contains("Ann"), "{shown}");
    }
}
