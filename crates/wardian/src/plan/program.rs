//! The program: what is executed, with which arguments, and what of the host it needs to start.

use super::{BOX, PlanError, Request};
use crate::files::Input;
use std::ffi::OsString;
use std::path::PathBuf;

/// What is to be run.
pub enum Program {
    /// A Python file; it appears in `/box` under its name.
    Script(Input),
    /// Python code, as with `python -c`.
    Code(String),
    /// A Python module, as with `python -m`.
    Module(String),
    /// Python code from standard input, as with `python -`.
    Stdin,
    /// Any program that the root contains, by its host path.
    Exec(PathBuf),
}

/// What the rest of the plan needs to know of a program.
pub(super) struct Resolved {
    /// The guest path to execute.
    pub(super) path: String,
    /// Arguments, the program's own name first.
    pub(super) args: Vec<OsString>,
    /// Variables it needs.
    pub(super) env: Vec<(String, String)>,
    /// Host directories that appear at their own paths.
    pub(super) directories: Vec<PathBuf>,
    /// Host files that appear at their own paths.
    pub(super) files: Vec<PathBuf>,
    /// Host files whose content is copied to their own paths.
    pub(super) copies: Vec<PathBuf>,
    /// Links: where, and what they say.
    pub(super) links: Vec<(PathBuf, PathBuf)>,
    /// Host directories of programs that `PATH` names.
    pub(super) path_directories: Vec<String>,
    pub(super) python_version: Option<String>,
}

/// Finds interpreter and libraries.
pub(super) fn resolve(request: &Request) -> Result<Resolved, PlanError> {
    let python = |start: Vec<OsString>| {
        let mut args: Vec<OsString> = vec!["/usr/bin/python3.11".into()];
        args.extend(start);
        args.extend(request.args.iter().cloned());
        Resolved {
            path: "/usr/bin/python3.11".into(),
            args,
            env: vec![("PATH".into(), "/usr/bin".into()), ("LC_ALL".into(), "C.UTF-8".into())],
            directories: [
                "/usr/lib/python3.11",
                "/usr/lib/python3",
                "/usr/local/lib/python3.11",
                "/usr/lib/x86_64-linux-gnu",
                "/usr/lib64",
                "/etc/python3.11",
            ]
            .map(PathBuf::from)
            .into(),
            files: vec!["/usr/bin/python3.11".into()],
            copies: vec!["/etc/ld.so.cache".into()],
            links: vec![
                ("/lib".into(), "usr/lib".into()),
                ("/lib64".into(), "usr/lib64".into()),
                ("/usr/bin/python3".into(), "python3.11".into()),
            ],
            path_directories: vec!["/usr/bin".into()],
            python_version: Some("3.11".into()),
        }
    };
    Ok(match &request.program {
        Program::Script(input) => python(vec![format!("{BOX}/{}", input.name()).into()]),
        Program::Code(code) => python(vec!["-c".into(), code.into()]),
        Program::Module(name) => python(vec!["-m".into(), name.into()]),
        Program::Stdin => python(vec!["-".into()]),
        Program::Exec(path) => {
            let mut args = vec![path.clone().into_os_string()];
            args.extend(request.args.iter().cloned());
            Resolved {
                path: path.to_string_lossy().into_owned(),
                args,
                files: vec![path.clone()],
                ..python(vec![])
            }
        }
    })
}
