//! The digest by which a report names the policy of its run.

use crate::policy::{self, Policy};
use sha2::{Digest, Sha256};
use std::sync::{Arc, OnceLock};

/// SHA-256 of the policy's file, found once for all runs of a plan.
#[derive(Clone, Default)]
pub(crate) struct PolicyDigest(Arc<OnceLock<String>>);

impl PolicyDigest {
    /// The digest of the plan's policy, in hexadecimal.
    pub(crate) fn of(&self, policy: &Policy) -> &str {
        self.0.get_or_init(|| {
            let text = policy::to_toml(policy).unwrap_or_default();
            Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
        })
    }
}
