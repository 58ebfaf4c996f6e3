//! The program: what is executed, with which arguments, and what of the host it needs to start.

use super::{Places, PlanError, Request};
use crate::files::Input;
use crate::python::layout::Needs;
use crate::python::{self, Hook, Interpreter};
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// What is to be run.
pub enum Program {
    /// A Python file: one of the request's inputs.
    Script(Input),
    /// Python code, as with `python -c`.
    Code(OsString),
    /// A Python module, as with `python -m`.
    Module(OsString),
    /// Python code from standard input, as with `python -`.
    Stdin,
    /// Any program of the host that the root then contains, by its host path.
    Exec(PathBuf),
    /// A program by its path inside, where the policy's mounts make the root.
    Inside {
        /// The path.
        path: PathBuf,
        /// Its name: its first argument.
        name: OsString,
    },
}

/// What the rest of the plan needs to know of a program.
pub(super) struct Resolved {
    /// The guest path to execute.
    pub(super) path: PathBuf,
    /// Arguments, the program's own name first.
    pub(super) args: Vec<OsString>,
    /// Host directories that appear at their own paths.
    pub(super) directories: Vec<PathBuf>,
    /// Host files that appear at their own paths.
    pub(super) files: Vec<PathBuf>,
    /// Host files whose content is copied to their own paths.
    pub(super) copies: Vec<PathBuf>,
    /// Links: where, and what they say.
    pub(super) links: Vec<(PathBuf, PathBuf)>,
    /// What `PATH` says.
    pub(super) search_path: Vec<PathBuf>,
    pub(super) python_version: Option<String>,
    /// Files that the interpreter finds before all others, by name: what makes its start a trimmed one.
    pub(super) start_files: Vec<(String, Vec<u8>)>,
}

/// Where those files are: alone in their directory.
pub(super) const HOOK_DIRECTORY: &str = "/opt/wardian-start";

/// Finds interpreter and libraries.
pub(super) fn resolve(request: &Request, places: &Places) -> Result<Resolved, PlanError> {
    match &request.program {
        Program::Script(input) => python(request, &[format!("{}/{}", places.work, input.name()).into()]),
        Program::Code(code) => python(request, &["-c".into(), code.clone()]),
        Program::Module(name) => python(request, &["-m".into(), name.clone()]),
        Program::Stdin => python(request, &["-".into()]),
        Program::Exec(path) => exec(request, path),
        Program::Inside { path, name } => Ok(inside(request, path, name)),
    }
}

fn python(request: &Request, start: &[OsString]) -> Result<Resolved, PlanError> {
    let interpreter = python::find(&request.python)?;
    let mut needs = Needs::default();
    add_interpreter(&mut needs, &interpreter);
    conveniences(&mut needs);
    let mut search_path: BTreeSet<PathBuf> = parent(&interpreter.executable).into_iter().collect();
    add_tools(request, &mut needs, &mut search_path)?;
    let Interpreter { executable, version, start: how, .. } = interpreter;
    let mut args = vec![executable.clone().into_os_string()];
    args.extend_from_slice(start);
    let environment = &request.policy.environment;
    let variables = environment.inherit.iter().chain(environment.set.keys()).map(String::as_str);
    let hook = how.into_hook(variables).filter(|_| environment.defaults).map(Hook::into_content);
    let start_files = hook.into_iter().map(|content| (Hook::NAME.to_owned(), content)).collect();
    Ok(Resolved { start_files, ..resolved(request, executable, args, needs, search_path, Some(version)) })
}

fn exec(request: &Request, path: &Path) -> Result<Resolved, PlanError> {
    let mut needs = Needs::default();
    let mut search_path: BTreeSet<PathBuf> = parent(path).into_iter().collect();
    executable(path).map_err(|source| PlanError::Program { path: path.into(), source })?;
    add_program(&mut needs, path).map_err(|source| PlanError::Program { path: path.into(), source })?;
    add_tools(request, &mut needs, &mut search_path)?;
    conveniences(&mut needs);
    Ok(resolved(request, path.into(), vec![path.into()], needs, search_path, None))
}

/// A file that somebody may execute; the kernel has the last word inside.
fn executable(path: &Path) -> io::Result<()> {
    let metadata = std::fs::metadata(path)?;
    match metadata.permissions().mode() & 0o111 {
        _ if metadata.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        0 => {
            Err(io::Error::new(io::ErrorKind::PermissionDenied, "nobody may execute it (no `x` in its mode)"))
        }
        _ => Ok(()),
    }
}

/// With a root made of the policy's mounts alone nothing is added.
fn inside(request: &Request, path: &Path, name: &OsStr) -> Resolved {
    resolved(request, path.into(), vec![name.into()], Needs::default(), BTreeSet::new(), None)
}

fn resolved(
    request: &Request,
    path: PathBuf,
    mut args: Vec<OsString>,
    needs: Needs,
    search_path: BTreeSet<PathBuf>,
    python_version: Option<String>,
) -> Resolved {
    let needs = needs.minimal();
    args.extend(request.args.iter().cloned());
    Resolved {
        path,
        args,
        directories: needs.directories.into_iter().collect(),
        files: needs.files.into_iter().collect(),
        copies: needs.copies.into_iter().collect(),
        links: needs.links,
        search_path: search_path.into_iter().collect(),
        python_version,
        start_files: Vec::new(),
    }
}

fn parent(path: &Path) -> Option<PathBuf> {
    path.parent().map(Path::to_owned)
}

/// Time zones, the locale and certificates, which programs expect on any machine.
fn conveniences(needs: &mut Needs) {
    needs.directory(Path::new("/usr/share/zoneinfo"));
    // The C library finds `C.UTF-8` here.
    needs.directory(Path::new("/usr/lib/locale/C.utf8"));
    for file in ["/etc/localtime", "/etc/ssl/certs/ca-certificates.crt"] {
        if Path::new(file).exists() {
            needs.file(Path::new(file));
        }
    }
}

fn add_tools(
    request: &Request,
    needs: &mut Needs,
    search_path: &mut BTreeSet<PathBuf>,
) -> Result<(), PlanError> {
    for tool in &request.policy.files.tools {
        let tool = Path::new(tool);
        add_program(needs, tool).map_err(|source| PlanError::Tool { path: tool.into(), source })?;
        search_path.extend(parent(tool));
    }
    Ok(())
}

fn add_interpreter(needs: &mut Needs, interpreter: &Interpreter) {
    needs.links.extend(interpreter.links.iter().cloned());
    needs.directories.extend(interpreter.directories.iter().cloned());
    needs.files.extend(interpreter.files.iter().cloned());
    needs.copies.extend(interpreter.copies.iter().cloned());
}

/// A program of the host with what it needs to start; an interpreter needs its library as well.
fn add_program(needs: &mut Needs, path: &Path) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default();
    if name.as_encoded_bytes().starts_with(b"python")
        && let Ok(interpreter) = python::find(&python::Request::Path(path.into()))
    {
        add_interpreter(needs, &interpreter);
    }
    needs.program(path)
}
