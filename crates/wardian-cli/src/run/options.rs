//! From options to a request: the program, its files, and the policy with the command line laid over it.

use super::Failure;
use super::elsewhere::unless_option;
use crate::cli::RunOptions;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use wardian::compat::nsjail::View;
use wardian::files::{GuestPath, Input, InputError, InputSet};
use wardian::plan::{Program, Request};
use wardian::policy::{self, Policy, PolicyError, RootKind};
use wardian::python;

/// A program is read into memory: more than this is not one.
const LARGEST_PROGRAM: u64 = 16 << 20;

/// A request, and what else the run needs to know.
pub(super) struct Prepared {
    pub(super) request: Request,
    pub(super) program_from_stdin: bool,
}

/// Everything that can be wrong with options is found here, before anything runs.
pub(super) fn prepare(options: &RunOptions) -> Result<Prepared, Failure> {
    let policy = policy(options)?;
    let most = policy.limits.disk.0.max(LARGEST_PROGRAM);
    let mut inputs = options.files.iter().map(|text| input(text, most)).collect::<Result<Vec<_>, _>>()?;
    let (program, args) = match &options.entry {
        Some(name) => (entry(name, &inputs)?, options.program.clone()),
        None => program(options, &policy)?,
    };
    if let (Program::Script(script), None) = (&program, &options.entry) {
        inputs.insert(0, script.clone());
    }
    let inputs = InputSet::new(inputs, most).map_err(|error| Failure::of_usage(&error, None))?.into_vec();
    if !options.collect.is_empty() && !policy.files.has_scratch() {
        return Err(nothing_to_collect_from(&policy));
    }
    if let Some(cwd) = &options.cwd {
        let hint = "a directory inside the sandbox, such as /box or what `--mount` shows";
        cwd.parse::<GuestPath>()
            .map_err(|error| Failure::of_usage(format!("`--cwd`: {error}"), Some(hint.into())))?;
    }
    let program_from_stdin = matches!(program, Program::Stdin);
    let request = Request {
        unbuffered: is_watched(options),
        cwd: options.cwd.clone(),
        python: python(options)?,
        policy,
        program,
        args,
        inputs,
    };
    Ok(Prepared { request, program_from_stdin })
}

fn nothing_to_collect_from(policy: &Policy) -> Failure {
    let (why, hint) = match policy.files.root {
        RootKind::Empty => (
            "with the policy's `files.root = \"empty\"` there is no scratch space",
            "a writable mount keeps what the program makes: `--mount src=DIR,dst=/out,rw`",
        ),
        RootKind::Program => {
            ("the policy gives no scratch space", "`files.scratch = \"exec\"` in a policy file gives it some")
        }
    };
    Failure::of_usage(format!("`--collect`: {why} to collect from"), Some(hint.into()))
}

/// Whether somebody sees output as it comes. Elsewhere Python buffers as it does without us: a write for each line costs
/// a program that prints much several times its CPU time.
fn is_watched(options: &RunOptions) -> bool {
    options.unbuffered || (!options.json && rustix::termios::isatty(io::stdout()))
}

fn python(options: &RunOptions) -> Result<python::Request, Failure> {
    match (&options.python, &options.venv) {
        (Some(text), _) => {
            text.parse().map_err(|error: python::FindError| Failure::of_usage(&error, error.hint()))
        }
        (None, Some(directory)) => Ok(python::Request::Venv(directory.clone())),
        (None, None) => Ok(python::Request::Default),
    }
}

fn program(options: &RunOptions, policy: &Policy) -> Result<(Program, Vec<OsString>), Failure> {
    if let Some(code) = &options.code {
        return Ok((Program::Code(code.clone()), options.program.clone()));
    }
    if let Some(module) = &options.module {
        return Ok((Program::Module(module.clone()), options.program.clone()));
    }
    let Some((first, args)) = options.program.split_first() else {
        let hint = "`wardian run SCRIPT`, `wardian run -c CODE`, or `wardian run --exec PROGRAM`";
        return Err(Failure::of_usage("no program to run", Some(hint.into())));
    };
    let args = args.to_vec();
    unless_option(first)?;
    if options.exec {
        let is_inside = policy.files.root == RootKind::Empty;
        let program = if is_inside { inside(first, policy)? } else { Program::Exec(in_path(first)?) };
        return Ok((program, args));
    }
    if first == "-" {
        return Ok((Program::Stdin, args));
    }
    let script = Input::open(Path::new(first), None, LARGEST_PROGRAM)
        .map_err(|error| wrong_input(&error, format!("cannot run the script: {error}")))?;
    Ok((Program::Script(script), args))
}

/// One of the files.
fn entry(name: &str, inputs: &[Input]) -> Result<Program, Failure> {
    let found = inputs.iter().find(|input| input.name() == name);
    found.cloned().map(Program::Script).ok_or_else(|| {
        let hint = format!("bring it in with `--file HOST:{name}`");
        Failure::of_usage(format!("`--entry {name}`: no `--file` has that name inside"), Some(hint))
    })
}

/// A program for `--exec` in a root of mounts alone, which give it another path than the host's.
fn inside(name: &OsStr, policy: &Policy) -> Result<Program, Failure> {
    let is_path = name.as_bytes().contains(&b'/');
    let search_path = policy.environment.set.get("PATH").map(String::as_str);
    let found = if is_path {
        Some(PathBuf::from(name))
    } else {
        View::new(&policy.files.mounts).find_program(name, search_path)
    };
    let path = found.ok_or_else(|| {
        let hint = "with `files.root = \"empty\"` a path inside is meant, or a name in the PATH inside";
        let text = format!("`--exec`: no program `{}` in the directories of PATH inside", name.display());
        Failure::of_program(text, Some(hint.into()), io::ErrorKind::NotFound)
    })?;
    Ok(Program::Inside { path, name: name.to_owned() })
}

/// A program for `--exec`: a path, or a name that PATH knows.
fn in_path(name: &OsStr) -> Result<PathBuf, Failure> {
    if name.as_bytes().contains(&b'/') {
        return std::path::absolute(name)
            .map_err(|error| Failure::new(format!("`{}`: {error}", name.display()), None));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_absolute() && candidate.is_file())
        .ok_or_else(|| {
            let hint = "name one that PATH knows, or write a path: `--exec ./program`";
            let text = format!("`--exec`: no program `{}` in PATH", name.display());
            Failure::of_program(text, Some(hint.into()), io::ErrorKind::NotFound)
        })
}

/// A file to copy in, and the name that it has inside.
fn input(text: &OsStr, most: u64) -> Result<Input, Failure> {
    let (host, name) = host_and_name(text);
    let name = name.map(std::str::from_utf8).transpose().map_err(|_| {
        Failure::of_usage(format!("`--file {}`: the name is not UTF-8", text.display()), None)
    })?;
    Input::open(host, name, most)
        .map_err(|error| wrong_input(&error, format!("`--file {}`: {error}", text.display())))
}

/// `HOST[:NAME]` or `src=HOST,dst=NAME`; what exists as a whole is a host path.
fn host_and_name(text: &OsStr) -> (&Path, Option<&[u8]>) {
    const NAME: &[u8] = b",dst=";
    let whole = Path::new(text);
    if whole.exists() {
        return (whole, None);
    }
    let bytes = text.as_bytes();
    let (pairs, mark) = match bytes.strip_prefix(b"src=") {
        Some(pairs) => (pairs, NAME),
        None => (bytes, &b":"[..]),
    };
    let at = pairs.windows(mark.len()).rposition(|window| window == mark);
    let divided = at.and_then(|at| Some((pairs.get(..at)?, pairs.get(at + mark.len()..)?)));
    divided.map_or((whole, None), |(host, name)| (Path::new(OsStr::from_bytes(host)), Some(name)))
}

/// The policy with the command line's options laid over it.
fn policy(options: &RunOptions) -> Result<Policy, Failure> {
    lay_over(policy::load(&options.policy).map_err(|error| wrong(&error))?, options)
}

/// A policy with the command line's options laid over it.
pub(super) fn lay_over(mut policy: Policy, options: &RunOptions) -> Result<Policy, Failure> {
    let limits = &mut policy.limits;
    let lay = |from: &RunOptions, limits: &mut policy::Limits| {
        limits.wall = from.wall.unwrap_or(limits.wall);
        limits.cpu_time = from.cpu_time.unwrap_or(limits.cpu_time);
        limits.cpus = from.cpus.or(limits.cpus);
        limits.memory = from.memory.unwrap_or(limits.memory);
        limits.processes = from.processes.unwrap_or(limits.processes);
        limits.output = from.output.unwrap_or(limits.output);
        limits.open_files = from.open_files.unwrap_or(limits.open_files);
        limits.file_size = from.file_size.or(limits.file_size);
        limits.stack = from.stack.unwrap_or(limits.stack);
        // Scratch space counts as memory: less memory means less of it, unless both were said.
        limits.disk = from.disk.unwrap_or(limits.disk.min(limits.memory));
    };
    lay(options, limits);
    policy.network = options.network.unwrap_or(policy.network);
    policy.outside = options.outside.unwrap_or(policy.outside);
    policy.level = options.level.unwrap_or(policy.level);
    policy.require.extend(&options.require);
    for text in &options.mounts {
        let mount = text.parse().map_err(|error: policy::MountError| {
            Failure::of_usage(format!("`--mount {text}`: {error}"), Some(error.hint().into()))
        })?;
        policy.files.mounts.push(mount);
    }
    for text in &options.env {
        let (name, value) = text.split_once('=').ok_or_else(|| {
            Failure::of_usage(format!("`--env {text}` has no `=`"), Some("write --env NAME=VALUE".into()))
        })?;
        policy.environment.set.insert(name.to_owned(), value.to_owned());
    }
    policy::check(&policy, "with the command line's options")
        .map_err(|error| wrong_value(&error, options))?;
    Ok(policy)
}

/// The same error in the command line's words, where an option gave the value.
fn wrong_value(error: &PolicyError, options: &RunOptions) -> Failure {
    let PolicyError::Invalid { key, problem, .. } = error else { return wrong(error) };
    let flag = match *key {
        "limits.wall" if options.wall.is_some() => "--wall",
        "limits.cpu_time" if options.cpu_time.is_some() => "--cpu-time",
        "limits.cpus" if options.cpus.is_some() => "--cpus",
        "limits.memory" if options.memory.is_some() => "--memory",
        "limits.processes" if options.processes.is_some() => "--processes",
        "limits.disk" if options.disk.is_some() => "--disk",
        "limits.output" if options.output.is_some() => "--output",
        "limits.open_files" if options.open_files.is_some() => "--open-files",
        "limits.stack" if options.stack.is_some() => "--stack",
        "files.mounts" if !options.mounts.is_empty() => "--mount",
        "environment.set" if !options.env.is_empty() => "--env",
        _ => return wrong(error),
    };
    Failure::of_usage(format!("`{flag}`: {problem}"), error.hint())
}

fn wrong(error: &PolicyError) -> Failure {
    Failure::of_usage_if(error.is_usage(), error, error.hint())
}

fn wrong_input(error: &InputError, text: String) -> Failure {
    Failure::of_usage_if(error.is_usage(), text, error.hint())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_have_a_place_and_a_name() {
        for (text, host, name) in [
            ("absent", "absent", None),
            ("absent:inside", "absent", Some("inside")),
            ("a:b:c", "a:b", Some("c")),
            ("src=absent,dst=a:b", "absent", Some("a:b")),
            ("src=a,dst=b,dst=c", "a,dst=b", Some("c")),
            ("src=absent", "src=absent", None),
            // It exists as it is.
            ("/proc/self/../self", "/proc/self/../self", None),
        ] {
            assert_eq!(host_and_name(text.as_ref()), (Path::new(host), name.map(str::as_bytes)), "{text}");
        }
    }
}
