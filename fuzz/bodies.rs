//! What each fuzz target does with its bytes: read them, and hold what was read to what it promises.
//!
//! `cargo +nightly fuzz run NAME` (after `cargo install cargo-fuzz`) lets libFuzzer look for a panic;
//! `cargo test -p wardian --test fuzz` runs the same over a few mutations with the stable compiler.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use wardian::compat::{nsjail as nsjail_config, safeexec as safeexec_options};
use wardian::files::Globs;
use wardian::policy::{self as policies, Bytes, Duration, Mount};

fn text(data: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(data)
}

/// Sizes and times: what was read, written, reads the same.
pub fn units(data: &[u8]) {
    let text = text(data);
    if let Ok(bytes) = text.parse::<Bytes>() {
        assert_eq!(bytes.to_string().parse(), Ok(bytes));
    }
    if let Ok(time) = text.parse::<Duration>() {
        assert_eq!(time.to_string().parse(), Ok(time));
    }
}

/// Policy files: a policy that was read is valid, and written reads the same.
pub fn policy(data: &[u8]) {
    match policies::parse(&text(data), "fuzz") {
        Ok(policy) => {
            let written = policies::to_toml(&policy).expect("a policy that was read can be written");
            let again = policies::parse(&written, "written").expect("what was written can be read");
            assert_eq!(again, policy);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// nsjail's config files, both forms: what becomes of one is a valid policy or an error.
pub fn nsjail(data: &[u8]) {
    let Ok(config) = nsjail_config::parse(&text(data)) else { return };
    let _ = nsjail_config::check(&config, false);
    if nsjail_config::check(&config, true).is_err() {
        return;
    }
    if let Ok(import) = nsjail_config::to_policy(&config, &nsjail_config::Caller::current())
        && policies::check(&import.policy, "fuzz").is_ok()
    {
        let written = nsjail_config::to_toml(&import, "fuzz").expect("an import can be written");
        policies::parse(&written, "written").expect("what was written can be read");
    }
}

/// Mounts in one word.
pub fn mount(data: &[u8]) {
    if let Ok(mount) = text(data).parse::<Mount>() {
        assert!(mount.src.as_deref().is_some_and(|src| src.starts_with('/')));
        let mut policy = policies::preset("python").expect("a preset is valid");
        policy.files.mounts.push(mount);
        let _ = policies::check(&policy, "fuzz");
    }
}

/// safeexec's options, a line each.
pub fn safeexec(data: &[u8]) {
    let words = data.split(|byte| *byte == b'\n').map(|word| OsString::from_vec(word.to_vec()));
    if let Ok(options) = safeexec_options::parse(words) {
        assert!(!options.command.is_empty());
        let _ = safeexec_options::to_policy(&options, 7);
    }
}

/// Patterns, a line each.
pub fn globs(data: &[u8]) {
    let lines: Vec<String> = text(data).lines().map(str::to_owned).collect();
    match Globs::new(&lines) {
        Ok(globs) => assert_eq!(globs.is_empty(), lines.is_empty()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
