//! The ledger of intents.
