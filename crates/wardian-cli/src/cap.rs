//! `WARDIAN_TEST_CAP`: kernel features taken away, so that an old kernel can be tested on a new one.

use wardian::host::{Cap, CapError};

const VARIABLE: &str = "WARDIAN_TEST_CAP";

/// What the environment takes away; nothing in ordinary use.
///
/// # Errors
/// A word that is no cap: what was meant to be tested would not be.
pub(crate) fn from_environment() -> Result<Cap, CapError> {
    match std::env::var_os(VARIABLE) {
        None => Ok(Cap::default()),
        // Text that is not UTF-8 is no cap, whatever it is shown as.
        Some(text) => text.to_string_lossy().parse(),
    }
}
