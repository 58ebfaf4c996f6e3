//! Python as it is found: which interpreter, what of the host it needs, how it is started.
//!
//! An interpreter is asked once, outside any sandbox, where everything of it lies; the answer is cached, so
//! that a run starts no interpreter but the guest's own.

mod cache;
mod data;
pub(crate) mod elf;
mod error;
mod find;
pub(crate) mod layout;
mod ld_cache;
mod needs;
mod probe;
mod shim;
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::{Path, PathBuf};

    fn installed() -> Vec<PathBuf> {
        let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
        let mut paths: Vec<PathBuf> = vec!["/usr/bin/python3".into(), "/usr/local/bin/python3".into()];
        let pyenv = std::fs::read_dir(home.join(".pyenv/versions")).into_iter().flatten().flatten();
        paths.extend(pyenv.map(|entry| entry.path().join("bin/python3")));
        paths.retain(|path| path.exists());
        paths
    }

    #[test]
    fn every_interpreter_of_this_machine_is_found_with_little_around_it() {
        let installed = installed();
        if installed.is_empty() {
            eprintln!("SKIP: no interpreter where this test looks");
        }
        for path in installed {
            let found = find(&Request::Path(path.clone())).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(found.executable, path);
            assert!(found.directories.len() <= 12, "{:?}", found.directories);
            assert!(found.files.len() <= 4, "{:?}", found.files);
            for wide in ["/", "/usr", "/usr/bin", "/etc", "/home", "/root", "/usr/local", "/tmp", "/var"] {
                assert!(!found.directories.contains(&PathBuf::from(wide)), "{wide}");
            }
            // From the cache: the same.
            assert_eq!(find(&Request::Path(path)), Ok(found));
        }
    }

    #[test]
    fn what_is_too_old_says_so() {
        let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
        let old = home.join(".pyenv/versions/2.7.18/bin/python");
        if !old.exists() {
            eprintln!("SKIP: no Python 2.7 on this machine");
            return;
        }
        let error = find(&Request::Path(old)).unwrap_err().to_string();
        assert!(error.contains("2.7.18") && error.contains("3.6"), "{error}");
    }

    #[test]
    fn what_is_no_python_is_refused_with_a_reason() {
        for (path, word) in [("/bin/true", "nothing"), ("/etc/passwd", "executable"), ("/etc", "directory")] {
            let error = find(&Request::Path(Path::new(path).into())).unwrap_err();
            assert!(error.to_string().contains(word), "{error}");
            assert!(error.hint().is_some());
        }
    }
}
