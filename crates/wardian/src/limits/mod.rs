//! (interim)
#![allow(missing_docs)]
#[derive(Debug, thiserror::Error)]
#[error("none")]
pub struct CgroupError;
impl CgroupError {
    pub fn hint(&self) -> Option<String> {
        None
    }
}
