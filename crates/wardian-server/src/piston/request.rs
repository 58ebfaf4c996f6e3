//! A request of Piston's, checked in its order and words.

use super::version;
use crate::auth::Caller;
use crate::config::Config;
use crate::engine::{Environment, Job, Start};
use crate::limits::Limits;
use crate::problem::Problem;
use crate::setup::Setup;
use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::sync::Arc;
use wardian::files::GuestName;
use wardian::policy::{self, Bytes, Duration, Policy, PolicyError};

/// What Piston gives a program.
fn policy() -> Result<Policy, PolicyError> {
    policy::parse(include_str!("policy.toml"), "piston")
}

/// Names by which its clients call the language.
pub(super) const ALIASES: [&str; 3] = ["py", "py3", "python3"];

/// A job and its standard input.
pub(super) struct Prepared {
    pub(super) job: Job,
    pub(super) stdin: Vec<u8>,
}

pub(super) fn refused(message: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "piston", message)
}

pub(super) fn prepare(request: &Value, setup: &Setup, caller: &Caller) -> Result<Prepared, Problem> {
    let required = |key: &str| {
        let text = request.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
        text.ok_or_else(|| refused(format!("{key} is required as a string")))
    };
    let (language, version) = (required("language")?, required("version")?);
    let given = request.get("files").and_then(Value::as_array);
    let given = given.ok_or_else(|| refused("files is required as an array"))?;
    if let Some(at) = given.iter().position(|file| !file.get("content").is_some_and(Value::is_string)) {
        return Err(refused(format!("files[{at}].content is required as a string")));
    }
    let environment = environment(setup, language, version)?;
    if given.len() > setup.config.requests.files {
        return Err(refused(format!("more than {} files", setup.config.requests.files)));
    }
    let files = given.iter().enumerate().map(file).collect::<Result<Vec<_>, _>>()?;
    let main = given.iter().position(is_text);
    let main = main.ok_or_else(|| refused("files must include at least one utf8 encoded file"))?;
    let main = files.get(main).map(|(name, _)| name.as_str().to_owned()).unwrap_or_default();
    let job = Job {
        environment,
        policy: limited(request, setup, caller)?,
        start: Start::Script(main),
        args: args(request)?,
        files,
        unbuffered: true,
    };
    let stdin = request.get("stdin").and_then(Value::as_str).unwrap_or_default();
    Ok(Prepared { job, stdin: stdin.into() })
}

/// The newest interpreter in the range.
fn environment(setup: &Setup, language: &str, range: &str) -> Result<Arc<Environment>, Problem> {
    let known = language == "python" || ALIASES.contains(&language);
    let fitting = setup
        .environments
        .iter()
        .filter(|environment| known && version::is_in(&environment.interpreter.version, range));
    let newest = fitting.max_by_key(|environment| environment.interpreter.version_numbers());
    newest.cloned().ok_or_else(|| refused(format!("{language}-{range} runtime is unknown")))
}

fn is_text(file: &Value) -> bool {
    matches!(file.get("encoding").and_then(Value::as_str), None | Some("" | "utf8"))
}

fn file((at, file): (usize, &Value)) -> Result<(GuestName, Vec<u8>), Problem> {
    let text = |key: &str| file.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    let name = text("name").map_or_else(|| format!("file{at}.code"), str::to_owned);
    let plain = name.strip_prefix("./").unwrap_or(&name);
    let name = plain.parse().map_err(|error| refused(format!("files[{at}].name: {error}")))?;
    let content = text("content").unwrap_or_default();
    let bytes = match text("encoding") {
        Some("base64") => STANDARD.decode(content).ok(),
        Some("hex") => hex(content),
        _ => Some(content.into()),
    };
    let bytes = bytes.ok_or_else(|| refused(format!("files[{at}].content is not in its encoding")))?;
    Ok((name, bytes))
}

fn hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

fn args(request: &Value) -> Result<Vec<String>, Problem> {
    let Some(args) = request.get("args").filter(|args| !args.is_null()) else { return Ok(Vec::new()) };
    let strings = args.as_array().into_iter().flatten().map(|arg| arg.as_str().map(str::to_owned));
    let strings = strings.collect::<Option<Vec<_>>>().filter(|_| args.is_array());
    let strings = strings.ok_or_else(|| refused("args must be an array of strings"))?;
    match strings.iter().any(|arg| arg.contains('\0')) {
        true => Err(refused("args must not contain NUL")),
        false => Ok(strings),
    }
}

/// The policy with the request's limits; those of a compiler, which Python has not, are checked alike.
fn limited(request: &Value, setup: &Setup, caller: &Caller) -> Result<Policy, Problem> {
    let base = policy().map_err(Problem::ours)?;
    let configured = setup.config.piston.limits;
    let ceilings = caller.ceilings.or(configured).or(Limits::of(&base));
    let millis = |limit: Option<Duration>| limit.map_or(0, |limit| limit.as_micros() / 1000);
    let time = |name: &str, ceiling| number(request, name, millis(ceiling));
    let run = Limits {
        wall: time("run_timeout", ceilings.wall)?.map(|ms| Duration::from_micros(ms.saturating_mul(1000))),
        cpu: time("run_cpu_time", ceilings.cpu)?.map(|ms| Duration::from_micros(ms.saturating_mul(1000))),
        memory: number(request, "run_memory_limit", ceilings.memory.map_or(0, |limit| limit.0))?.map(Bytes),
        ..Limits::default()
    };
    for name in ["compile_timeout", "compile_cpu_time", "compile_memory_limit"] {
        number(request, name, u64::MAX)?;
    }
    run.or(configured).lay_over(&base, ceilings).map_err(|problem| refused(problem.detail))
}

/// What a program gets whose request sets no limits, as configured, under someone's ceilings.
pub(crate) fn policy_of(config: &Config, own: Limits) -> Result<Policy, Problem> {
    let base = policy().map_err(Problem::ours)?;
    let configured = config.piston.limits;
    configured.lay_over(&base, own.or(configured).or(Limits::of(&base)))
}

/// A limit; none and -1 for the usual one.
fn number(request: &Value, name: &str, ceiling: u64) -> Result<Option<u64>, Problem> {
    let value = match request.get(name) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Number(number)) => number,
        Some(_) => return Err(refused(format!("If specified, {name} must be a number"))),
    };
    if value.as_i64() == Some(-1) || value.as_i64() == Some(0) {
        return Ok(None);
    }
    let Some(number) = value.as_u64() else {
        let negative = value.as_f64().is_some_and(|number| number < 0.0);
        let what = if negative { "must be non-negative" } else { "must be a whole number" };
        return Err(refused(format!("{name} {what}")));
    };
    if number > ceiling {
        return Err(refused(format!("{name} cannot exceed the configured limit of {ceiling}")));
    }
    Ok(Some(number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn limits_are_checked_in_its_words() {
        for (value, expected) in [
            (json!("x"), Err("If specified, run_timeout must be a number")),
            (json!(3001), Err("run_timeout cannot exceed the configured limit of 3000")),
            (json!(-2), Err("run_timeout must be non-negative")),
            (json!(1.5), Err("run_timeout must be a whole number")),
            (json!(-1), Ok(None)),
            (json!(2000), Ok(Some(2000))),
        ] {
            let request = json!({ "run_timeout": value });
            let answer = number(&request, "run_timeout", 3000).map_err(|problem| problem.detail);
            assert_eq!(
                answer.as_ref().map_err(String::as_str),
                expected.as_ref().map_err(|text| *text),
                "{value}"
            );
        }
    }

    #[test]
    fn files_come_in_three_encodings() {
        let content = |value: Value| file((0, &value)).map(|(name, bytes)| (name.as_str().to_owned(), bytes));
        assert_eq!(content(json!({"content": "hi"})).unwrap(), ("file0.code".into(), b"hi".to_vec()));
        assert_eq!(content(json!({"content": "6869", "encoding": "hex"})).unwrap().1, b"hi");
        assert_eq!(content(json!({"content": "aGk=", "encoding": "base64"})).unwrap().1, b"hi");
        for wrong in [
            json!({"content": "6é", "encoding": "hex"}),
            json!({"content": "!", "encoding": "base64"}),
            json!({"content": "", "name": "../x"}),
            json!({"content": "", "name": "/x"}),
        ] {
            assert_eq!(content(wrong).unwrap_err().status, StatusCode::BAD_REQUEST);
        }
    }

    #[test]
    fn its_policy_is_one() {
        assert_eq!(policy().unwrap().name, "piston");
    }
}
