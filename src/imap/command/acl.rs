//! What is asked or changed of the rights to a mailbox (RFC 4314 §3).

/// A command on who may do what with a mailbox. Identifiers and rights are the server's to judge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AclCommand {
    /// SETACL: these rights, more (`+`), or fewer (`-`).
    Set {
        /// Whose.
        identifier: Vec<u8>,
        /// The rights, with the sign before them.
        rights: Vec<u8>,
    },
    /// DELETEACL: none any more.
    Delete {
        /// Whose.
        identifier: Vec<u8>,
    },
    /// GETACL: who has which.
    Get,
    /// LISTRIGHTS: which could be given.
    List {
        /// To whom.
        identifier: Vec<u8>,
    },
    /// MYRIGHTS: which the user has.
    My,
}
