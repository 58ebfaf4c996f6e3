//! Interpreters: the one that a run takes by itself, and the others in `PATH`.

use crate::host::examination::{Finding, PythonFound};
use crate::python::{self, FindError, Interpreter, Request};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Each one not asked before is started once.
const MOST: usize = 32;

/// All interpreters found, the default one first, which is also returned by itself.
pub(super) fn find() -> (Vec<PythonFound>, Result<Interpreter, FindError>) {
    let default = python::find(&Request::Default);
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    if let Ok(interpreter) = &default {
        seen.insert(real(interpreter));
        found.push(of(interpreter, true));
    }
    for path in in_path() {
        if let Ok(interpreter) = python::find(&Request::Path(path))
            && seen.insert(real(&interpreter))
        {
            found.push(of(&interpreter, false));
        }
    }
    (found, default)
}

/// The file, whatever links lead to it: a shim and what is behind it are one.
fn real(interpreter: &Interpreter) -> PathBuf {
    interpreter.executable.canonicalize().unwrap_or_else(|_| interpreter.executable.clone())
}

fn of(interpreter: &Interpreter, default: bool) -> PythonFound {
    PythonFound { path: interpreter.executable.clone(), version: interpreter.version.clone(), default }
}

/// Files in `PATH` that are named like an interpreter; each file once, whatever links lead to it.
fn in_path() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories: Vec<PathBuf> = std::env::split_paths(&path).filter(|dir| dir.is_absolute()).collect();
    let mut real = BTreeSet::new();
    let entries = directories.iter().filter_map(|dir| std::fs::read_dir(dir).ok()).flatten().flatten();
    let named = entries
        .map(|entry| entry.path())
        .filter(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(is_python));
    named.filter(|path| path.canonicalize().is_ok_and(|target| real.insert(target))).take(MOST).collect()
}

/// `python`, `python3`, `python3.12`; not `python3-config`.
fn is_python(name: &str) -> bool {
    name.strip_prefix("python").is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit() || c == '.'))
}

pub(super) fn finding(found: &[PythonFound], error: Option<&FindError>) -> Finding {
    if let Some(error) = error {
        let fix = error.hint().unwrap_or_else(|| "install python3".into());
        return Finding::fail("python", error.to_string(), fix);
    }
    let words = found.iter().map(|python| format!("{} ({})", python.version, python.path.display()));
    let words: Vec<String> = words.collect();
    Finding::ok("python", words.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Status;

    #[test]
    fn names_of_interpreters() {
        assert!(["python", "python3", "python3.12"].into_iter().all(is_python));
        assert!(!["python3-config", "pythonw", "pip3", "ipython3"].into_iter().any(is_python));
    }

    #[test]
    fn no_interpreter_is_a_failure_that_says_what_to_do() {
        let error = FindError::None { request: "`python3` in PATH".into(), rejected: Vec::new() };
        let finding = finding(&[], Some(&error));
        assert_eq!(finding.status, Status::Fail);
        assert!(finding.fix.is_some_and(|fix| fix.contains("python3")));
    }
}
