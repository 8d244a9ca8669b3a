//! Places where tests have the program die as `kill -9` would have it: between two steps whose
//! order promises something.

/// Ends the program here, at once, if the environment's `FAILPOINTS` names this step with `return`.
///
/// Only tests are built with it: in any other build nothing is left of it.
pub fn step(name: &str) {
    // The name alone is not used where the macro is empty.
    let _ = name;
    fail::fail_point!(name, |_| std::process::abort());
}

/// Reads which steps to die at. To be kept for as long as they count.
pub fn steps() -> Option<fail::FailScenario<'static>> {
    fail::has_failpoints().then(fail::FailScenario::setup)
}
