//! snekbox's interface: `POST /eval`, so that a client changes nothing but the address.

mod schema;

use crate::auth::Caller;
use crate::config::Config;
use crate::engine::{Job, Start};
use crate::json::{Json, Picked};
use crate::limits::Limits;
use crate::problem::{Dialect, Problem};
use crate::room;
use crate::service::{self, Service};
use crate::setup::Setup;
use crate::v1;
use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Response, StatusCode};
use base64::Engine;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::general_purpose::{GeneralPurpose, PAD};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use wardian::files::{CollectLimits, Globs, GuestName, too_deep, unescape};
use wardian::policy::{self, Policy, PolicyError};
use wardian::report::{Encoding, Report, Verdict};
use wardian::sandbox::Collect;

/// What snekbox gives a program.
fn policy() -> Result<Policy, PolicyError> {
    policy::parse(include_str!("policy.toml"), "snekbox")
}

/// The same, as configured, under someone's own ceilings, or else the service's.
pub(crate) fn policy_of(config: &Config, own: Limits) -> Result<Policy, Problem> {
    let base = policy().map_err(Problem::ours)?;
    let configured = config.snekbox.limits.lay_over(&base, Limits::default())?;
    Limits::default().lay_over(&configured, own.or(config.ceilings))
}

const MOST_FILES: usize = 101;
const MOST_FILE_BYTES: u64 = 48 << 20;

pub(crate) async fn eval(
    State(service): State<Arc<Service>>,
    Extension(caller): Extension<Arc<Caller>>,
    request: Request,
) -> Response<Body> {
    let answer = evaluate(&service, &caller, request).await;
    answer.unwrap_or_else(|problem| problem.into_response_of(Dialect::Snekbox))
}

async fn evaluate(
    service: &Arc<Service>,
    caller: &Arc<Caller>,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let setup = service.setup();
    let limits = &setup.config.requests;
    let memory = service.memory.of(caller);
    let (bytes, lease) = memory.read(request.into_body(), limits.body.0, limits.body_time.as_std()).await?;
    let prepare = {
        let (setup, caller) = (Arc::clone(&setup), Arc::clone(caller));
        move || prepare(&bytes, &setup, &caller)
    };
    let job = match v1::beside(lease.is_large(), prepare).await? {
        Prepared::Job(job) => job,
        Prepared::Answer(answer) => return v1::json(&memory, answer.to_string().into_bytes()).await,
    };
    let report = service.run("snekbox", caller, *job, service::kept(Vec::new(), Some(collect()?))).await?;
    let answer = answer(&report);
    drop(lease);
    v1::json(&memory, answer.to_string().into_bytes()).await
}

enum Prepared {
    /// To be run.
    Job(Box<Job>),
    /// Known without running anything.
    Answer(Value),
}

fn refused(title: &str, description: impl Into<String>) -> Problem {
    let problem = Problem::new(StatusCode::BAD_REQUEST, "snekbox", description);
    Problem { field: Some(title.into()), ..problem }
}

fn prepare(bytes: &[u8], setup: &Setup, caller: &Caller) -> Result<Prepared, Problem> {
    let request = Json::read(bytes)
        .map_err(|error| refused("Invalid JSON", format!("Could not parse JSON body - {error}")))?;
    schema::check(request).map_err(|text| refused("Request data failed validation", text))?;
    let request = &request.pick(&schema::FIELDS);
    let args = arguments(request)?;
    let environment = executable(request, setup)?;
    if args.iter().any(|arg| arg.contains('\0')) {
        return Ok(Prepared::Answer(failed("ValueError: embedded null byte")));
    }
    let policy = policy_of(&setup.config, caller.ceilings)?;
    // `-c` and its like start as they always do; what else there is, is the interpreter's own matter.
    let (start, args) = match args.split_first() {
        Some((first, [code, rest @ ..])) if first == "-c" => (Start::Code(code.clone()), rest.to_vec()),
        Some((first, [name, rest @ ..])) if first == "-m" => (Start::Module(name.clone()), rest.to_vec()),
        _ => (Start::Arguments, args),
    };
    let mut inputs = Vec::new();
    let files = files(request, setup.config.requests.files)?;
    if let Some((error, path)) = clash(files.iter().map(|(path, _)| path.as_str())) {
        return Ok(Prepared::Answer(failed(&format!("{error}: Failed to create file '{path}'."))));
    }
    for (path, content) in files.into_iter().collect::<BTreeMap<_, _>>() {
        let name: GuestName = path.parse().map_err(|error: wardian::files::PathError| {
            refused("Request file is invalid", error.to_string())
        })?;
        inputs.push((name, content));
    }
    let job = Job { environment, policy, start, args, files: inputs, unbuffered: true };
    Ok(Prepared::Job(Box::new(job)))
}

/// More than these no interpreter is started with.
const MOST_ARGUMENTS: usize = 1024;

fn arguments(request: &Picked<'_>) -> Result<Vec<String>, Problem> {
    let given = request.get("args").map(Json::items);
    let given =
        given.map(|items| items.filter_map(Json::string).take(MOST_ARGUMENTS + 1).collect::<Vec<_>>());
    if given.as_ref().is_some_and(|given| given.len() > MOST_ARGUMENTS) {
        let text = format!("more than {MOST_ARGUMENTS} arguments");
        return Err(refused("Request data failed validation", text));
    }
    let mut args = match request.get("input").and_then(Json::string) {
        Some(input) => {
            let mut args = given.unwrap_or_else(|| vec!["-c".into()]);
            args.push(input);
            args
        }
        None => given.unwrap_or_default(),
    };
    let empty = args.iter().take_while(|arg| arg.is_empty()).count();
    args.drain(..empty);
    Ok(args)
}

/// The first file that cannot be made when all before it were, and what Python calls the error.
fn clash<'a>(paths: impl Iterator<Item = &'a str>) -> Option<(&'static str, &'a str)> {
    let mut made: BTreeSet<&str> = BTreeSet::new();
    for path in paths {
        let inside = format!("{path}/");
        let is_directory =
            || made.range(inside.as_str()..).next().is_some_and(|next| next.starts_with(&inside));
        let mut above = Path::new(path).ancestors().skip(1).filter_map(Path::to_str);
        let error = match above.next() {
            _ if path.is_empty() || is_directory() => Some("IsADirectoryError"),
            Some(parent) if made.contains(parent) => Some("FileExistsError"),
            _ if above.any(|ancestor| made.contains(ancestor)) => Some("NotADirectoryError"),
            _ => None,
        };
        if let Some(error) = error {
            return Some((error, path));
        }
        made.insert(path);
    }
    None
}

/// The files sent, at most `most`, by their paths without `.` and `..`.
fn files(request: &Picked<'_>, most: usize) -> Result<Vec<(String, Vec<u8>)>, Problem> {
    /// Of a path, in bytes: the kernel's.
    const LONGEST: usize = 4095;
    let mut files = Vec::new();
    let given = || request.get("files").into_iter().flat_map(Json::items);
    if given().nth(most).is_some() {
        return Err(refused("Request data failed validation", format!("more than {most} files")));
    }
    for file in given() {
        let text = |key: &str| file.get(key).and_then(Json::string).unwrap_or_default();
        let path = text("path");
        let wrong = |text: String| refused("Request file is invalid", text);
        let plain =
            plain(&path).ok_or_else(|| wrong(format!("File path '{path}' may not traverse beyond root")))?;
        if plain.len() > LONGEST {
            return Err(wrong(format!("a file path has more than {LONGEST} bytes")));
        }
        room::check_depth(&plain)?;
        let content = decode(&text("content"))
            .ok_or_else(|| wrong(format!("Invalid base64 encoding for file '{path}'")))?;
        files.push((plain, content));
    }
    Ok(files)
}

/// A path without `.` and `..`; none if it leads beyond the root.
pub(crate) fn plain(path: &str) -> Option<String> {
    let mut plain = String::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if plain.is_empty() => return None,
            ".." => plain.truncate(plain.rfind('/').unwrap_or_default()),
            part => {
                let slash = if plain.is_empty() { "" } else { "/" };
                plain.extend([slash, part]);
            }
        }
    }
    Some(plain)
}

/// As Python does: what is not of the alphabet is skipped.
fn decode(text: &str) -> Option<Vec<u8>> {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(&ALPHABET, PAD.with_decode_allow_trailing_bits(true));
    let of_alphabet = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=".contains(byte);
    let bytes: Vec<u8> = text.bytes().filter(of_alphabet).collect();
    LENIENT.decode(bytes).ok()
}

/// The environment that an `executable_path` means: by its interpreter's path, or by the version in a path of
/// snekbox's image. Other files of this machine are not there for clients.
fn executable(request: &Picked<'_>, setup: &Setup) -> Result<Arc<crate::engine::Environment>, Problem> {
    let Some(path) = request.get("executable_path").and_then(Json::string).filter(|path| !path.is_empty())
    else {
        return setup.environment(None).cloned();
    };
    let version = path.strip_prefix("/snekbin/python/").and_then(|rest| rest.strip_suffix("/bin/python"));
    if version == Some("default") {
        return setup.environment(None).cloned();
    }
    let found = setup.environments.iter().find(|environment| {
        let interpreter = &environment.interpreter;
        let of_version = version.is_some_and(|version| {
            interpreter.version == version || interpreter.version.starts_with(&format!("{version}."))
        });
        of_version || interpreter.executable.as_os_str() == path.as_str()
    });
    found.cloned().ok_or_else(|| refused("executable_path does not exist", format!("{path} does not exist")))
}

fn collect() -> Result<Collect, Problem> {
    let globs = Globs::new(&["**/[!_]*".into()]).map_err(Problem::ours)?;
    let limits = CollectLimits {
        files: MOST_FILES,
        file_bytes: MOST_FILE_BYTES,
        total_bytes: MOST_FILE_BYTES,
        report_bytes: MOST_FILE_BYTES,
        links: true,
        ..CollectLimits::default()
    };
    Ok(Collect { globs, limits, out: None })
}

fn failed(text: &str) -> Value {
    json!({ "stdout": text, "returncode": null, "files": [] })
}

fn answer(report: &Report) -> Value {
    let output = &report.stdout;
    if output.encoding == Encoding::Base64 {
        return failed("UnicodeDecodeError: invalid Unicode in output pipe");
    }
    match attachments(report) {
        Ok(files) => json!({ "stdout": output.text, "returncode": returncode(report), "files": files }),
        Err(text) => failed(&format!("FileParsingError: {text} while parsing attachments")),
    }
}

/// The files that the program made, or why there are none.
fn attachments(report: &Report) -> Result<Vec<Value>, &'static str> {
    let deepest = too_deep(CollectLimits::default().depth);
    if report.files_omitted.iter().any(|file| file.reason == deepest) {
        return Err("Exceeded directory depth limit");
    }
    let mut files = BTreeMap::new();
    for file in &report.files {
        let path = String::from_utf8(unescape(&file.path)).map_err(|_| "invalid bytes in filename")?;
        let content = file.base64.as_deref().unwrap_or_default();
        let entry = json!({ "path": path, "size": file.bytes, "content": content });
        files.insert(path, entry);
    }
    Ok(files.into_values().collect())
}

/// The exit code of nsjail for the same end.
fn returncode(report: &Report) -> i32 {
    const SIGNALED: i32 = 128;
    const SIGKILL: i32 = 9;
    let signal = report.signal.as_ref().map(|signal| signal.number);
    match report.verdict {
        Verdict::Ok | Verdict::NonzeroExit => report.exit_code.map_or(0, i32::from),
        Verdict::Signaled => SIGNALED + signal.unwrap_or(0),
        // These may be programs that ended by themselves.
        Verdict::DiskLimit | Verdict::ProcessLimit => {
            report.exit_code.map_or(SIGNALED + signal.unwrap_or(SIGKILL), i32::from)
        }
        Verdict::TimeLimit | Verdict::MemoryLimit | Verdict::PolicyViolation => SIGNALED + SIGKILL,
        Verdict::OutputLimit => SIGNALED + 15,
        Verdict::NotExecutable | Verdict::SandboxError | Verdict::Cancelled => 255,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lose_their_dots_and_stay_below_the_root() {
        for (path, expected) in [
            ("./file.jpg", Some("file.jpg")),
            ("folder/../hm", Some("hm")),
            ("traversal/but/../not/beyond/../root", Some("traversal/not/root")),
            ("//a//b/", Some("a/b")),
            ("a/..", Some("")),
            ("../secrets", None),
            ("dir/../../secrets", None),
        ] {
            assert_eq!(plain(path).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn files_that_cannot_both_be_are_errors_of_python() {
        for (paths, expected) in [
            (vec!["a/b", "a/c", "ab", "a/b"], None),
            (vec!["dir/test.txt", "dir"], Some(("IsADirectoryError", "dir"))),
            (vec!["dir", "dir/test.txt"], Some(("FileExistsError", "dir/test.txt"))),
            (vec!["dir", "dir/a/b"], Some(("NotADirectoryError", "dir/a/b"))),
            (vec![""], Some(("IsADirectoryError", ""))),
        ] {
            assert_eq!(clash(paths.iter().copied()), expected, "{paths:?}");
        }
        let many: Vec<String> = (0..50_000).map(|at| format!("d{}/f{at}", at % 100)).collect();
        let started = std::time::Instant::now();
        assert_eq!(clash(many.iter().map(String::as_str)), None);
        assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
    }

    #[test]
    fn arguments_are_put_together() {
        for (request, expected) in [
            (json!({"input": "x"}), vec!["-c", "x"]),
            (json!({"input": "x", "args": ["-m", "timeit"]}), vec!["-m", "timeit", "x"]),
            (json!({"args": ["", "", "main.py"]}), vec!["main.py"]),
            (json!({"args": []}), vec![]),
        ] {
            let text = request.to_string();
            assert_eq!(
                arguments(&Json::read(text.as_bytes()).unwrap().pick(&schema::FIELDS)).unwrap(),
                expected
            );
        }
    }

    #[test]
    fn base64_is_read_leniently_and_padding_is_not() {
        assert_eq!(decode("aGk=").as_deref(), Some(&b"hi"[..]));
        assert_eq!(decode("aG k=\n").as_deref(), Some(&b"hi"[..]));
        assert_eq!(decode("aGk"), None);
    }

    #[test]
    fn its_policy_is_one() {
        assert_eq!(policy().unwrap().name, "snekbox");
    }
}
