//! A request of Piston's, checked in its order and words.

use super::version;
use crate::auth::Caller;
use crate::config::Config;
use crate::engine::{Environment, Job, Start};
use crate::json::{Json, Picked};
use crate::limits::Limits;
use crate::problem::Problem;
use crate::setup::Setup;
use crate::snekbox;
use crate::v1::request::check_lengths;
use axum::http::StatusCode;
use base64::Engine;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use std::collections::BTreeMap;
use std::sync::Arc;
use wardian::files::GuestName;
use wardian::policy::{self, Bytes, Duration, Policy, PolicyError};

/// What Piston gives a program.
fn policy() -> Result<Policy, PolicyError> {
    policy::parse(include_str!("policy.toml"), "piston")
}

/// Names by which its clients call the language, beside `python`.
pub(super) fn aliases(environment: &Environment) -> Vec<String> {
    let (major, minor, _) = environment.interpreter.version_numbers();
    let aliases = ["py", "py3", "python3"].map(str::to_owned);
    aliases.into_iter().chain([format!("python{major}.{minor}")]).collect()
}

/// A job and its standard input.
pub(super) struct Prepared {
    pub(super) job: Job,
    pub(super) stdin: Vec<u8>,
}

pub(super) fn refused(message: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "piston", message)
}

/// What there may be in a request.
const FIELDS: [&str; 11] = [
    "language",
    "version",
    "files",
    "args",
    "stdin",
    "run_timeout",
    "run_cpu_time",
    "run_memory_limit",
    "compile_timeout",
    "compile_cpu_time",
    "compile_memory_limit",
];

pub(super) fn prepare(request: Json<'_>, setup: &Setup, caller: &Caller) -> Result<Prepared, Problem> {
    let request = &request.pick(&FIELDS);
    let required = |key: &str| {
        let text = request.get(key).and_then(Json::string).filter(|text| !text.is_empty());
        text.ok_or_else(|| refused(format!("{key} is required as a string")))
    };
    let (language, version) = (required("language")?, required("version")?);
    let given = request.get("files").filter(|files| files.is_array());
    let given = given.ok_or_else(|| refused("files is required as an array"))?;
    if let Some(at) = given.items().position(|file| !file.get("content").is_some_and(Json::is_string)) {
        return Err(refused(format!("files[{at}].content is required as a string")));
    }
    let environment = environment(setup, &language, &version)?;
    let most = setup.config.requests.files;
    if given.items().nth(most).is_some() {
        return Err(refused(format!("more than {most} files")));
    }
    if !given.items().any(says_text) {
        return Err(refused("files must include at least one utf8 encoded file"));
    }
    let files = given.items().enumerate().map(file).collect::<Result<Vec<_>, _>>()?;
    let main = given.items().zip(&files).find(|(file, _)| encoding(*file) == Encoding::Text);
    let main = main.map(|(_, (name, _))| name.as_str().to_owned()).unwrap_or_default();
    let job = Job {
        environment,
        policy: limited(request, setup, caller)?,
        start: Start::Script(main),
        args: args(request)?,
        // Of two with one name, the last.
        files: files.into_iter().collect::<BTreeMap<_, _>>().into_iter().collect(),
        unbuffered: true,
    };
    let mut stdin = request.get("stdin").and_then(Json::string).unwrap_or_default();
    if !stdin.ends_with('\n') {
        stdin.push('\n');
    }
    Ok(Prepared { job, stdin: stdin.into() })
}

/// The newest interpreter in the range.
pub(super) fn environment(setup: &Setup, language: &str, range: &str) -> Result<Arc<Environment>, Problem> {
    let fitting = setup.environments.iter().filter(|environment| {
        let known = language == "python" || aliases(environment).iter().any(|alias| alias == language);
        known && version::is_in(&environment.interpreter.version, range)
    });
    let newest = fitting.max_by_key(|environment| environment.interpreter.version_numbers());
    newest.cloned().ok_or_else(|| refused(format!("{language}-{range} runtime is unknown")))
}

/// Whether a file says that it is text; of one with an encoding that there is not, it is only taken for it.
fn says_text(file: Json<'_>) -> bool {
    matches!(file.get("encoding").and_then(Json::string).as_deref(), None | Some("" | "utf8"))
}

#[derive(PartialEq)]
enum Encoding {
    Text,
    Base64,
    Hex,
}

fn encoding(file: Json<'_>) -> Encoding {
    match file.get("encoding").and_then(Json::string).as_deref() {
        Some("base64") => Encoding::Base64,
        Some("hex") => Encoding::Hex,
        _ => Encoding::Text,
    }
}

fn file((at, file): (usize, Json<'_>)) -> Result<(GuestName, Vec<u8>), Problem> {
    let text = |key: &str| file.get(key).and_then(Json::string).filter(|text| !text.is_empty());
    let name = text("name").unwrap_or_else(|| format!("file{at}.code"));
    let escapes = || refused(format!("File path \"{name}\" tries to escape parent directory"));
    let plain = snekbox::plain(&name).ok_or_else(escapes)?;
    let name = plain.parse().map_err(|error| refused(format!("files[{at}].name: {error}")))?;
    let content = text("content").unwrap_or_default();
    let bytes = match encoding(file) {
        Encoding::Base64 => base64(&content),
        Encoding::Hex => hex(&content),
        Encoding::Text => content.into(),
    };
    Ok((name, bytes))
}

/// As its runtime reads it: of either alphabet, without regard for what is of none, with or without padding.
fn base64(text: &str) -> Vec<u8> {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &ALPHABET,
        GeneralPurposeConfig::new()
            .with_decode_allow_trailing_bits(true)
            .with_decode_padding_mode(DecodePaddingMode::RequireNone),
    );
    let end = text.find('=').unwrap_or(text.len());
    let standard = |byte| match byte {
        b'-' => Some(b'+'),
        b'_' => Some(b'/'),
        b'+' | b'/' => Some(byte),
        _ => byte.is_ascii_alphanumeric().then_some(byte),
    };
    let mut digits: Vec<u8> = text.bytes().take(end).filter_map(standard).collect();
    if digits.len() % 4 == 1 {
        digits.pop();
    }
    LENIENT.decode(digits).unwrap_or_default()
}

/// As its runtime reads it: as far as there are pairs of digits.
fn hex(text: &str) -> Vec<u8> {
    let pairs = text.as_bytes().chunks_exact(2).map_while(|pair| {
        let digit = |at: usize| char::from(*pair.get(at)?).to_digit(16);
        u8::try_from(digit(0)? * 16 + digit(1)?).ok()
    });
    pairs.collect()
}

/// More than these no program is started with.
const MOST_ARGUMENTS: usize = 1024;

fn args(request: &Picked<'_>) -> Result<Vec<String>, Problem> {
    let Some(args) = request.get("args").filter(|args| !args.is_null()) else { return Ok(Vec::new()) };
    let strings = args.items().take(MOST_ARGUMENTS + 1).map(Json::string);
    let strings = strings.collect::<Option<Vec<_>>>().filter(|_| args.is_array());
    let strings = strings.ok_or_else(|| refused("args must be an array of strings"))?;
    if strings.len() > MOST_ARGUMENTS {
        return Err(refused(format!("args must not be more than {MOST_ARGUMENTS}")));
    }
    check_lengths(strings.iter().enumerate().map(|(at, arg)| (format!("args[{at}]"), arg.len())))
        .map_err(|problem| refused(format!("{}: {}", problem.field.unwrap_or_default(), problem.detail)))?;
    match strings.iter().any(|arg| arg.contains('\0')) {
        true => Err(refused("args must not contain NUL")),
        false => Ok(strings),
    }
}

/// The policy with the request's limits; those of a compiler, which Python has not, are checked alike.
fn limited(request: &Picked<'_>, setup: &Setup, caller: &Caller) -> Result<Policy, Problem> {
    let (usual, ceilings) = usual(&setup.config, caller.ceilings)?;
    let millis = |limit: Option<Duration>| limit.map_or(0, |limit| limit.as_micros() / 1000);
    let time = |name: &str, ceiling| -> Result<_, Problem> {
        let millis = number(request, name, Some(ceiling))?;
        Ok(millis.map(|millis| Duration::from_micros(whole(millis * 1000.0))))
    };
    number(request, "compile_memory_limit", None)?;
    // Less than none is none, as where there is no limit to stay below.
    let memory = match number(request, "run_memory_limit", None)?.filter(|bytes| *bytes > 0.0) {
        Some(_) => number(request, "run_memory_limit", ceilings.memory.map(|limit| limit.0))?,
        None => None,
    };
    time("compile_timeout", COMPILE_MILLIS)?;
    let wall = time("run_timeout", millis(ceilings.wall))?;
    time("compile_cpu_time", COMPILE_MILLIS)?;
    let cpu = time("run_cpu_time", millis(ceilings.cpu))?;
    let run = Limits { wall, cpu, memory: memory.map(|bytes| Bytes(whole(bytes))), ..Limits::default() };
    run.lay_over(&usual, ceilings).map_err(|problem| refused(problem.detail))
}

/// The policy as configured, and the most that a request may ask for: someone's own ceilings; else, as there, what is
/// usual, but no more than the service's.
fn usual(config: &Config, own: Limits) -> Result<(Policy, Limits), Problem> {
    let base = policy().map_err(Problem::ours)?;
    let usual = config.piston.limits.lay_over(&base, Limits::default())?;
    let ceilings = own.or(Limits::of(&usual).min(config.ceilings));
    Ok((usual, ceilings))
}

/// What a program gets whose request sets no limits.
pub(crate) fn policy_of(config: &Config, own: Limits) -> Result<Policy, Problem> {
    let (usual, ceilings) = usual(config, own)?;
    Limits::default().lay_over(&usual, ceilings)
}

/// What a compiler may take, if there were one.
const COMPILE_MILLIS: u64 = 10_000;

/// A limit; nothing, or what counts as nothing, is the usual one.
fn number(request: &Picked<'_>, name: &str, ceiling: Option<u64>) -> Result<Option<f64>, Problem> {
    let number = match request.get(name) {
        None => return Ok(None),
        Some(value) if value.is_null() || value.is_false() || value.says("") => return Ok(None),
        Some(value) => match value.number() {
            Some(number) => Some(number).filter(|number| *number != 0.0),
            None => return Err(refused(format!("If specified, {name} must be a number"))),
        },
    };
    match (number, ceiling) {
        (Some(number), Some(ceiling)) if number > 0.0 && whole(number) > ceiling => {
            Err(refused(format!("{name} cannot exceed the configured limit of {ceiling}")))
        }
        (Some(number), Some(_)) if number < 0.0 => Err(refused(format!("{name} must be non-negative"))),
        (number, _) => Ok(number),
    }
}

/// The least whole number that is not below this one.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
fn whole(number: f64) -> u64 {
    number.ceil() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn limits_are_checked_in_its_words() {
        for (value, expected) in [
            (json!("x"), Err("If specified, run_timeout must be a number")),
            (json!(true), Err("If specified, run_timeout must be a number")),
            (json!(3001), Err("run_timeout cannot exceed the configured limit of 3000")),
            (json!(3000.5), Err("run_timeout cannot exceed the configured limit of 3000")),
            (json!(-1), Err("run_timeout must be non-negative")),
            (json!(1.5), Ok(Some(1.5))),
            (json!(0), Ok(None)),
            (json!(""), Ok(None)),
            (json!(false), Ok(None)),
            (json!(2000), Ok(Some(2000.0))),
        ] {
            let request = json!({ "run_timeout": value }).to_string();
            let request = Json::read(request.as_bytes()).unwrap().pick(&FIELDS);
            let answer = number(&request, "run_timeout", Some(3000)).map_err(|problem| problem.detail);
            assert_eq!(
                answer.as_ref().map_err(String::as_str),
                expected.as_ref().map_err(|text| *text),
                "{value}"
            );
        }
    }

    #[test]
    fn files_come_in_three_encodings() {
        let content = |value: Value| {
            let text = value.to_string();
            let (name, bytes) = file((0, Json::read(text.as_bytes()).unwrap()))?;
            Ok::<_, Problem>((name.as_str().to_owned(), bytes))
        };
        assert_eq!(content(json!({"content": "hi"})).unwrap(), ("file0.code".into(), b"hi".to_vec()));
        assert_eq!(content(json!({"content": "6869", "encoding": "hex"})).unwrap().1, b"hi");
        assert_eq!(content(json!({"content": "x", "encoding": "latin1"})).unwrap().1, b"x");
        for (text, bytes) in [("aGk=", "hi"), ("a\nGk", "hi"), ("_-", "\u{0}"), ("!", ""), ("aGk=aGk=", "hi")]
        {
            let bytes = if text == "_-" { &[0xff][..] } else { bytes.as_bytes() };
            assert_eq!(content(json!({"content": text, "encoding": "base64"})).unwrap().1, bytes, "{text}");
        }
        for (text, bytes) in [("6", ""), ("686", "h"), ("68x9", "h"), ("6é", "")] {
            let file = json!({"content": text, "encoding": "hex"});
            assert_eq!(content(file).unwrap().1, bytes.as_bytes(), "{text}");
        }
        for (name, plain) in [("/x", "x"), ("./a/../b", "b"), ("a//b", "a/b")] {
            assert_eq!(content(json!({"content": "", "name": name})).unwrap().0, plain);
        }
        for wrong in ["../x", "a/../../x", "a\0b"] {
            let problem = content(json!({"content": "", "name": wrong})).unwrap_err();
            assert_eq!(problem.status, StatusCode::BAD_REQUEST);
        }
    }

    #[test]
    fn its_policy_is_one() {
        assert_eq!(policy().unwrap().name, "piston");
    }
}
