//! (interim)
#![allow(missing_docs)]
#[derive(Debug, thiserror::Error)]
#[error("none")]
pub struct FindError;
impl FindError {
    pub fn hint(&self) -> Option<String> {
        None
    }
}
pub enum Request {
    Default,
}
