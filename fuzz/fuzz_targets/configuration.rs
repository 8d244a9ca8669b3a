//! Any text as proxy.toml: no panic, and a refusal that can be shown to a person.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use mailferry::config::Config;

fuzz_target!(|text: &str| {
    if let Err(refusal) = Config::from_text(text, Path::new("proxy.toml")) {
        let shown = refusal.to_string();
        assert!(!shown.is_empty());
        assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{shown:?}");
    }
});
