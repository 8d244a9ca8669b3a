//! What the program's commands wrote. A module of those tests alone that run some: where JSON is in scope, its
//! values can be compared with numbers of any kind, and Rust then asks everywhere which kind is meant.

use std::process::Output;

use serde_json::Value;

/// What a command wrote, and its exit code.
pub fn told(output: &Output) -> (String, Option<i32>) {
    let text = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    (String::from_utf8_lossy(&text).into_owned(), output.status.code())
}

/// The JSON that a command wrote.
pub fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", told(output).0))
}
