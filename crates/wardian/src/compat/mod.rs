//! Other sandboxes' interfaces, read exactly and expressed in wardian's words.

pub mod nsjail;
pub mod safeexec;
