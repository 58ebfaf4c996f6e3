//! The interface of Open edX's codejail-service: `POST /api/v0/code-exec` and `GET /health/`, so that the platform
//! changes nothing but the address.
//!
//! The payload's JSON and that of the answer may have `NaN` and `Infinity`, as Python's does. Globals pass through as
//! text: the guest's Python reads and writes them, and here they are only checked to be JSON.

mod form;
mod payload;
mod repr;

use crate::auth::Caller;
use crate::config::Config;
use crate::engine::{Job, Start};
use crate::health;
use crate::limits::Limits;
use crate::problem::{Dialect, Problem};
use crate::service::{self, Service};
use crate::setup::Setup;
use crate::v1;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse;
use axum::{Extension, Json};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use form::Form;
use serde_json::{Value, json};
use std::sync::{Arc, LazyLock};
use wardian::policy::{self, Bytes, Policy};
use wardian::report::{Encoding, Reason, Report, ResultMissing, Stream, Verdict};
use wardian::sandbox::Connections;

/// What runs inside; CodeJail's own interface for Python runs the same.
static GUEST: LazyLock<String> = LazyLock::new(|| {
    let helper = include_str!("../../../../python/codejail/codejail/_json_safe.py");
    let program = include_str!("../../../../python/codejail/codejail/_program.py");
    // What is text in JSON is text in Python.
    format!("JSON_SAFE = {}\n{program}", Value::from(helper))
});
/// The program's file, as CodeJail calls it: the first line of tracebacks.
const ENTRY: &str = "jailed_code";
/// The one file that there may be beside it.
const LIBRARY: &str = "python_lib.zip";
/// The globals that come back.
const MOST_RESULT: Bytes = Bytes(16 << 20);

/// What the code gets, as configured, under someone's own ceilings, or else the service's.
pub(crate) fn policy_of(config: &Config, own: Limits) -> Result<Policy, Problem> {
    let base = policy::parse(include_str!("policy.toml"), "edx").map_err(Problem::ours)?;
    let configured = config.edx.limits.lay_over(&base, Limits::default())?;
    Limits::default().lay_over(&configured, own.or(config.ceilings))
}

fn refused(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "edx", detail)
}

/// `GET /health/`: whether a sandbox refuses what it has to.
pub(crate) async fn health(state: State<Arc<Service>>) -> Response<Body> {
    match health::readyz(state).await {
        Ok(_) => Json(json!({ "status": "OK" })).into_response(),
        Err(problem) => (problem.status, Json(json!({ "status": "UNAVAILABLE" }))).into_response(),
    }
}

/// `POST /api/v0/code-exec`.
pub(crate) async fn code_exec(
    State(service): State<Arc<Service>>,
    Extension(caller): Extension<Arc<Caller>>,
    request: Request,
) -> Response<Body> {
    let answer = execute(&service, &caller, request).await;
    answer.unwrap_or_else(|problem| problem.into_response_of(Dialect::Edx))
}

async fn execute(
    service: &Arc<Service>,
    caller: &Arc<Caller>,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let setup = service.setup();
    let limits = setup.config.requests.clone();
    let (parts, body) = request.into_parts();
    let memory = service.memory.of(caller);
    let (bytes, lease) = memory.read(body, limits.body.0, limits.body_time.as_std()).await?;
    let form = Form::read(Request::from_parts(parts, Body::from(bytes)), limits.files);
    let Form { payload, files } = v1::beside_waiting(lease.is_large(), form).await?;
    let payload = payload.ok_or_else(|| refused("Missing 'payload' parameter in POST body"))?;
    let prepare = {
        let (setup, caller) = (Arc::clone(&setup), Arc::clone(caller));
        move || {
            let given = payload::check(&payload, files.iter().map(|(name, _)| name.as_str()))?;
            Ok((given, job(&setup, &caller, files)?, payload))
        }
    };
    let (given, job, payload) = v1::beside(lease.is_large(), prepare).await?;
    let kept = service::kept(payload.into_bytes(), None);
    let connections = Connections { result: Some(MOST_RESULT), ..kept };
    let report = service.run("edx", caller, job, connections).await?;
    drop(lease);
    let answer = match globals(&report) {
        Ok(globals) => format!("{{\"globals_dict\": {globals}}}"),
        Err(message) => format!("{{\"globals_dict\": {given}, \"emsg\": {}}}", Value::String(message)),
    };
    v1::json(&memory, answer.into_bytes()).await
}

fn job(setup: &Setup, caller: &Caller, files: Vec<(String, Vec<u8>)>) -> Result<Job, Problem> {
    let mut inputs = vec![(ENTRY.parse().map_err(Problem::ours)?, GUEST.as_bytes().to_vec())];
    for (name, content) in files {
        inputs.push((name.parse().map_err(|error| Problem::field("files", error))?, content));
    }
    Ok(Job {
        environment: Arc::clone(setup.environment(None)?),
        policy: policy_of(&setup.config, caller.ceilings)?,
        start: Start::Script(ENTRY.into()),
        args: Vec::new(),
        files: inputs,
        unbuffered: false,
    })
}

/// The globals that came back, or what CodeJail says when none did.
fn globals(report: &Report) -> Result<String, String> {
    let status = status(report);
    let mut stderr = bytes(&report.stderr);
    if status == 0 {
        let why = match &report.result {
            Some(json) => match serde_json::from_str::<String>(json.text()) {
                Ok(text) if payload::is_an_object(&text) => return Ok(text),
                _ => "the globals that came back are no JSON object",
            },
            None if report.result_missing == Some(ResultMissing::TooLarge) => {
                "the globals that came back are larger than 16777216 bytes"
            }
            None => "the code ended before its globals could be read back",
        };
        stderr.extend_from_slice(why.as_bytes());
    }
    Err(format!(
        "Couldn't execute jailed code: stdout: {}, stderr: {} with status code: {status}",
        repr::bytes(&bytes(&report.stdout)),
        repr::bytes(&stderr),
    ))
}

/// An exit code, or a signal's number below 0, as CodeJail has it.
fn status(report: &Report) -> i32 {
    const SIGKILL: i32 = 9;
    const SIGXCPU: i32 = 24;
    match (report.exit_code, report.reason, &report.signal) {
        (Some(code), ..) => code.into(),
        (None, Reason::CpuTime, _) => -SIGXCPU,
        (None, _, Some(signal)) if report.verdict == Verdict::Signaled => -signal.number,
        _ => -SIGKILL,
    }
}

/// What is kept of a stream: all of it, or its two ends.
fn bytes(stream: &Stream) -> Vec<u8> {
    let parts = [Some(&stream.text), stream.tail.as_ref()].into_iter().flatten();
    let decoded = parts.map(|part| match stream.encoding {
        Encoding::Utf8 => part.clone().into_bytes(),
        // Encoded by ourselves.
        Encoding::Base64 => STANDARD.decode(part).unwrap_or_default(),
    });
    decoded.collect::<Vec<_>>().concat()
}
