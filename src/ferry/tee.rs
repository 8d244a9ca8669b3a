//! A message collected on its way to the client.

/// The octets of one message.
pub struct Tee;
