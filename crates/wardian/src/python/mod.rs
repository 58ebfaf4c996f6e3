//! Python as it is found: which interpreter, what of the host it needs, how it is started.
//!
//! An interpreter is asked once, outside any sandbox, where everything of it lies; the answer is cached, so
//! that a run starts no interpreter but the guest's own.

mod cache;
pub(crate) mod elf;
mod error;
mod find;
pub(crate) mod layout;
mod probe;
mod start;

pub use error::{FindError, Rejected};
pub use find::Request;
pub use layout::Interpreter;
pub use start::{Hook, Start};

/// The interpreter that a request means.
///
/// # Errors
/// Every place that was looked at, and why it was not taken.
pub fn find(request: &Request) -> Result<Interpreter, FindError> {
    let mut rejected = Vec::new();
    for candidate in find::candidates(request, &mut rejected)? {
        match cache::interpreter(&candidate) {
            Ok(interpreter) => match find::fits(request, &interpreter) {
                Ok(()) => return Ok(interpreter),
                Err(why) => rejected.push(Rejected { path: candidate, why }),
            },
            Err(why) => rejected.push(Rejected { path: candidate, why }),
        }
    }
    Err(FindError::None { request: request.to_string(), rejected })
}
