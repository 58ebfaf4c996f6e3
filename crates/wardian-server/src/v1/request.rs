//! The body of a run: what it may say, and the job it becomes.

use crate::auth::Caller;
use crate::engine::{Job, Start};
use crate::few;
use crate::limits::Limits;
use crate::object::Object;
use crate::problem::Problem;
use crate::setup::Setup;
use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use wardian::files::{CollectLimits, Globs};
use wardian::policy::Bytes;
use wardian::sandbox::Collect;

/// What is to be run, with what.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RunRequest {
    /// A program: as if it were the file `main.py`, and the entry.
    pub(crate) code: Option<String>,
    /// Files in the working directory.
    #[schemars(with = "Vec<FileIn>")]
    #[serde(deserialize_with = "few::items::<_, _, MOST_FILES>")]
    pub(crate) files: Vec<Object<FileIn>>,
    /// The file that is run; `main.py` if not said.
    pub(crate) entry: Option<String>,
    /// Python code instead of a file: as with `python -c`; not a shell's command.
    pub(crate) command: Option<String>,
    /// A module instead of a file: as with `python -m`.
    pub(crate) module: Option<String>,
    /// The program's arguments.
    #[serde(deserialize_with = "few::items::<_, _, MOST_STRINGS>")]
    pub(crate) args: Vec<String>,
    /// Standard input.
    pub(crate) stdin: Option<String>,
    /// Standard input that is not text, as base64.
    pub(crate) stdin_base64: Option<String>,
    /// Environment variables.
    #[serde(deserialize_with = "few::entries::<_, MOST_STRINGS>")]
    pub(crate) env: BTreeMap<String, String>,
    /// Limits, at most the ceilings of the server.
    #[schemars(with = "Limits")]
    pub(crate) limits: Object<Limits>,
    /// An interpreter, by a name of `/v1/environments`, or by its `id` there.
    pub(crate) environment: Option<String>,
    /// A policy, by a name of `/v1/environments`.
    pub(crate) policy: Option<String>,
    /// Patterns of files to give back; `*` stays within a directory, `**` does not.
    #[serde(deserialize_with = "few::items::<_, _, MOST_STRINGS>")]
    pub(crate) collect: Vec<String>,
    /// Bytes of the JSON value that the program may write to descriptor 3; `result` of the report.
    pub(crate) result: Option<Bytes>,
    /// Whether Python writes at once what it prints; if not said, it does where output comes as it is written.
    pub(crate) unbuffered: Option<bool>,
}

/// A file, as text or as base64.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileIn {
    /// Where, below the working directory.
    pub(crate) path: String,
    /// Its content as text.
    #[serde(default)]
    pub(crate) text: Option<String>,
    /// Its content as base64.
    #[serde(default)]
    pub(crate) base64: Option<String>,
}

/// A run ready to wait for its turn.
pub(crate) struct Prepared {
    pub(crate) job: Job,
    pub(crate) stdin: Vec<u8>,
    pub(crate) collect: Option<Collect>,
    pub(crate) result: Option<Bytes>,
}

const MOST_STRINGS: usize = 1024;
/// Files of any configuration.
pub(crate) const MOST_FILES: usize = 1 << 16;
/// Bytes of an argument or variable that a program can be started with (execve(2)), and of all of them.
const LONGEST_STRING: usize = (128 << 10) - 1;
const MOST_STRING_BYTES: usize = 1 << 20;

/// Reads JSON; what is wrong is named by its path.
pub(crate) fn parse<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Result<T, Problem> {
    let not_json = |detail: String| Problem::new(StatusCode::BAD_REQUEST, "not-json", detail);
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let Object(value) = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        if inner.is_data() {
            // A field says better where it is.
            let place = format!(" at line {} column {}", inner.line(), inner.column());
            let text = inner.to_string();
            let text = text.strip_suffix(&place).unwrap_or(&text).to_owned();
            Problem { field: field_of(path, &text), ..Problem::field("", text) }
        } else {
            not_json(format!("the body is not JSON: {inner}"))
        }
    })?;
    reader.end().map_err(|error| not_json(format!("the body is not JSON: {error}")))?;
    Ok(value)
}

/// The field that an error is about: its path, and what the error itself says is missing or there twice.
fn field_of(path: String, error: &str) -> Option<String> {
    let named = ["missing field `", "duplicate field `"].iter().find_map(|start| error.strip_prefix(start));
    let named = named.and_then(|rest| rest.split('`').next());
    match (path.as_str(), named) {
        (".", None) => None,
        (".", Some(name)) => Some(name.to_owned()),
        (_, Some(name)) if !path.ends_with(name) => Some(format!("{path}.{name}")),
        _ => Some(path),
    }
}

impl RunRequest {
    /// Everything that can be wrong with it is found here, but for what only its run shows.
    pub(crate) fn prepare(
        self,
        setup: &Setup,
        caller: &Caller,
        binary: Vec<(String, Vec<u8>)>,
        live: bool,
    ) -> Result<Prepared, Problem> {
        let environment = setup.environment(self.environment.as_deref())?;
        let base = setup.policy(self.policy.as_deref())?;
        let mut policy = self.limits.0.lay_over(base, setup.ceilings(base, caller.ceilings))?;
        check_strings("args", &self.args)?;
        check_env(&self.env)?;
        check_start(&self)?;
        policy.environment.set.extend(self.env);
        let collect = collect(&self.collect, setup, policy.files.has_scratch())?;
        let stdin = stdin(self.stdin, self.stdin_base64)?;
        let ceiling = setup.config.requests.body;
        if let Some(result) = self.result.filter(|result| result.0 == 0 || *result > ceiling) {
            return Err(Problem::field("result", format!("{result} is not between 1 and {ceiling}")));
        }
        let most = setup.config.requests.files;
        if self.files.len() + binary.len() > most {
            return Err(Problem::field("files", format!("more than {most} files")));
        }
        let files = files(&self.code, self.files, binary)?;
        let start = start(self.code.is_some(), self.entry, self.command, self.module, &files)?;
        let unbuffered = self.unbuffered.unwrap_or(live);
        let job =
            Job { environment: Arc::clone(environment), policy, start, args: self.args, files, unbuffered };
        Ok(Prepared { job, stdin, collect, result: self.result })
    }
}

type Files = Vec<(wardian::files::GuestName, Vec<u8>)>;

const MAIN: &str = "main.py";

fn files(
    code: &Option<String>,
    given: Vec<Object<FileIn>>,
    binary: Vec<(String, Vec<u8>)>,
) -> Result<Files, Problem> {
    let name = |at: String, path: &str| path.parse().map_err(|error| Problem::field(at, error));
    let mut files = Files::new();
    if let Some(code) = code {
        files.push((name("code".into(), MAIN)?, code.clone().into_bytes()));
    }
    for (at, Object(file)) in given.into_iter().enumerate() {
        let field = |name: &str| format!("files[{at}].{name}");
        let path = name(field("path"), &file.path)?;
        let content = match (file.text, file.base64) {
            (Some(text), None) => text.into_bytes(),
            (None, Some(text)) => decode(&field("base64"), &text)?,
            (None, None) => {
                return Err(Problem::field(format!("files[{at}]"), "has neither `text` nor `base64`"));
            }
            (Some(_), Some(_)) => {
                return Err(Problem::field(field("base64"), "comes with `text`; one says it all"));
            }
        };
        files.push((path, content));
    }
    for (path, content) in binary {
        files.push((name(format!("file `{}`", path.escape_debug()), &path)?, content));
    }
    distinct(&files, code.is_some())?;
    Ok(files)
}

/// What is started: one of `code`, `command`, `module`, or a file.
fn start(
    code: bool,
    entry: Option<String>,
    command: Option<String>,
    module: Option<String>,
    files: &Files,
) -> Result<Start, Problem> {
    let said = [("entry", entry.is_some()), ("command", command.is_some()), ("module", module.is_some())];
    let mut said = said.into_iter().filter(|(_, said)| *said).map(|(name, _)| name);
    let first = if code { Some("code") } else { said.next() };
    if let (Some(first), Some(second)) = (first, said.next()) {
        return Err(Problem::field(second, format!("comes with `{first}`; one says what is run")));
    }
    for (field, text) in [("command", &command), ("module", &module)] {
        if text.as_ref().is_some_and(|text| text.contains('\0')) {
            return Err(Problem::field(field, "contains a NUL byte"));
        }
    }
    if let Some(start) = command.map(Start::Code).or(module.map(Start::Module)) {
        return Ok(start);
    }
    if files.is_empty() && entry.is_none() {
        return Err(Problem::field("code", "nothing says what is run: give `code`, or `files`"));
    }
    let entry = entry.unwrap_or_else(|| MAIN.into());
    if !files.iter().any(|(name, _)| name.as_str() == entry) {
        let detail = format!("there is no file `{}` to run", entry.escape_debug());
        return Err(Problem::field(if files.is_empty() { "code" } else { "entry" }, detail));
    }
    Ok(Start::Script(entry))
}

fn distinct(files: &Files, code: bool) -> Result<(), Problem> {
    let mut names = std::collections::BTreeSet::new();
    let Some((name, _)) = files.iter().find(|(name, _)| !names.insert(name.as_str())) else { return Ok(()) };
    let again = Problem::field("files", format!("two are called `{}`", name.as_str().escape_debug()));
    if !code || name.as_str() != MAIN {
        return Err(again);
    }
    let hint = "give the other one another name, or leave `code` out: `main.py` is what runs then, too";
    let detail = format!("`code` is the file `{MAIN}`, and another is called so");
    Err(Problem { detail, ..again }.with_hint(Some(hint.into())))
}

fn decode(field: &str, text: &str) -> Result<Vec<u8>, Problem> {
    STANDARD.decode(text).map_err(|error| Problem::field(field, format!("is not base64: {error}")))
}

fn stdin(text: Option<String>, base64: Option<String>) -> Result<Vec<u8>, Problem> {
    match (text, base64) {
        (Some(_), Some(_)) => Err(Problem::field("stdin_base64", "comes with `stdin`; one says it all")),
        (Some(text), None) => Ok(text.into_bytes()),
        (None, Some(text)) => decode("stdin_base64", &text),
        (None, None) => Ok(Vec::new()),
    }
}

pub(crate) fn check_strings(field: &str, strings: &[String]) -> Result<(), Problem> {
    match strings.iter().position(|text| text.contains('\0')) {
        Some(at) => Err(Problem::field(format!("{field}[{at}]"), "contains a NUL byte")),
        None => Ok(()),
    }
}

fn check_env(env: &BTreeMap<String, String>) -> Result<(), Problem> {
    let wrong = |(name, value): &(&String, &String)| {
        name.is_empty() || name.contains(['=', '\0']) || value.contains('\0')
    };
    match env.iter().find(wrong) {
        Some((name, _)) => {
            Err(Problem::field(format!("env.{}", name.escape_debug()), "is not a variable's name and value"))
        }
        None => Ok(()),
    }
}

/// Refuses what only a start from scratch would find to be too long.
fn check_start(request: &RunRequest) -> Result<(), Problem> {
    let args = request.args.iter().enumerate().map(|(at, arg)| (format!("args[{at}]"), arg.len()));
    let env = request
        .env
        .iter()
        .map(|(name, value)| (format!("env.{}", name.escape_debug()), name.len() + 1 + value.len()));
    let more = [("command", &request.command), ("module", &request.module)];
    let more = more.into_iter().filter_map(|(field, text)| Some((field.to_owned(), text.as_ref()?.len())));
    check_lengths(more.chain(args).chain(env))
}

/// Refuses names and bytes of strings with which no program can be started.
pub(crate) fn check_lengths(strings: impl Iterator<Item = (String, usize)>) -> Result<(), Problem> {
    let mut sum = 0;
    for (field, bytes) in strings {
        sum += bytes + 1;
        if bytes > LONGEST_STRING {
            return Err(Problem::field(field, format!("has more than {LONGEST_STRING} bytes")));
        }
        if sum > MOST_STRING_BYTES {
            let detail = format!("more than {MOST_STRING_BYTES} bytes of arguments and variables in all");
            return Err(Problem::field(field, detail));
        }
    }
    Ok(())
}

fn collect(patterns: &[String], setup: &Setup, has_scratch: bool) -> Result<Option<Collect>, Problem> {
    if patterns.is_empty() {
        return Ok(None);
    }
    if !has_scratch {
        return Err(Problem::field("collect", "the policy gives no scratch space to collect from"));
    }
    let globs =
        Globs::new(patterns).map_err(|error| Problem::field("collect", &error).with_hint(error.hint()))?;
    let configured = &setup.config.collect;
    let limits = CollectLimits {
        files: configured.files,
        file_bytes: configured.bytes.0,
        total_bytes: configured.bytes.0,
        report_bytes: configured.bytes.0,
        ..CollectLimits::default()
    };
    Ok(Some(Collect { globs, limits, out: None }))
}
