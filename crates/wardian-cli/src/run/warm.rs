//! `--warm`: a service of this machine runs the program, over its unix socket.
//!
//! Until the service has started the program nothing is lost: whatever is in the way, it is run as without `--warm`.

mod conversation;

use super::{Failure, connections, options};
use crate::cli::RunOptions;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use conversation::Conversation;
use serde_json::{Map, Value, json};
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use wardian::files::Input;
use wardian::plan::{Program, Request};
use wardian::policy;
use wardian::python::{self, Interpreter};
use wardian::report::Report;

/// What a service takes in one message, unless it is told otherwise.
const MOST: usize = 1 << 20;

/// The report; none if the program was not started, and is to be run here.
pub(super) fn run(options: &RunOptions) -> Result<Option<Report>, Failure> {
    let Some(request) = request(options)? else { return Ok(None) };
    let Some(stream) = connect() else { return Ok(None) };
    let Some(conversation) = Conversation::begin(stream, &request) else { return Ok(None) };
    conversation.go_on(&connections::cancel_on_signals()?).map(Some)
}

/// A service that is root's or our own.
fn connect() -> Option<UnixStream> {
    let own = rustix::process::geteuid();
    let runtime =
        std::env::var_os("XDG_RUNTIME_DIR").map(|directory| PathBuf::from(directory).join("wardian.sock"));
    let places = match std::env::var_os("WARDIAN_SOCKET") {
        Some(path) => vec![PathBuf::from(path)],
        None => [Some("/run/wardian.sock".into()), runtime].into_iter().flatten().collect(),
    };
    let streams = places.into_iter().filter_map(|path| UnixStream::connect(path).ok());
    let mut streams = streams.filter(|stream| {
        let peer = rustix::net::sockopt::socket_peercred(stream.as_fd() as BorrowedFd<'_>);
        peer.is_ok_and(|peer| peer.uid.is_root() || peer.uid == own)
    });
    streams.next()
}

/// The request; none if the options say more than a request can.
fn request(options: &RunOptions) -> Result<Option<Value>, Failure> {
    let is_preset = policy::PRESETS.iter().any(|preset| preset.name == options.policy);
    let more = options.exec
        || options.json
        || options.explain_plan
        || options.report.is_some()
        || options.network.is_some()
        || options.outside.is_some()
        || options.level.is_some()
        || !options.require.is_empty()
        || options.cpus.is_some()
        || options.open_files.is_some()
        || options.file_size.is_some()
        || options.stack.is_some()
        || options.stdin.is_some()
        || options.result
        || options.lifeline.is_some()
        || options.cwd.is_some()
        || !options.mounts.is_empty()
        || !options.collect.is_empty();
    if more || !is_preset {
        return Ok(None);
    }
    // All mistakes are found, and told, as without a service.
    let prepared = options::prepare(options)?;
    if prepared.program_from_stdin {
        return Ok(None);
    }
    // The same interpreter as without a service, or none.
    let Ok(interpreter) = python::find(&prepared.request.python) else { return Ok(None) };
    Ok(body(options, &prepared.request, &interpreter))
}

fn body(options: &RunOptions, request: &Request, interpreter: &Interpreter) -> Option<Value> {
    let Request { program, inputs, args, unbuffered, .. } = request;
    let mut body = Map::new();
    body.insert("environment".into(), interpreter.id().into());
    let (key, text) = match program {
        Program::Script(script) => ("entry", script.name().to_owned()),
        Program::Code(code) => ("command", code.to_str()?.to_owned()),
        Program::Module(name) => ("module", name.to_str()?.to_owned()),
        _ => return None,
    };
    body.insert(key.into(), text.into());
    let args = args.iter().map(|arg| arg.to_str()).collect::<Option<Vec<_>>>()?;
    body.insert("args".into(), json!(args));
    if inputs.iter().map(Input::bytes).sum::<u64>() > MOST as u64 || inputs.iter().any(Input::executable) {
        return None;
    }
    body.insert("files".into(), inputs.iter().map(file).collect::<Option<Vec<_>>>()?.into());
    let env = options.env.iter().map(|text| text.split_once('=')).collect::<Option<Vec<_>>>()?;
    let env = env.into_iter().map(|(name, value)| (name.to_owned(), Value::from(value)));
    body.insert("env".into(), Value::Object(env.collect()));
    body.insert("policy".into(), options.policy.as_str().into());
    body.insert("limits".into(), limits(options));
    body.insert("unbuffered".into(), (*unbuffered).into());
    Some(Value::Object(body)).filter(|body| body.to_string().len() <= MOST)
}

fn file(input: &Input) -> Option<Value> {
    let mut content = Vec::new();
    std::fs::File::from(input.reopen().ok()?).read_to_end(&mut content).ok()?;
    Some(json!({ "path": input.name(), "base64": STANDARD.encode(content) }))
}

fn limits(options: &RunOptions) -> Value {
    let said = [
        ("wall", options.wall.map(|limit| limit.to_string())),
        ("cpu", options.cpu_time.map(|limit| limit.to_string())),
        ("memory", options.memory.map(|limit| limit.to_string())),
        ("processes", options.processes.map(|limit| limit.to_string())),
        ("disk", options.disk.map(|limit| limit.to_string())),
        ("output", options.output.map(|limit| limit.to_string())),
    ];
    let number = |name: &str, text: String| match name {
        "processes" => text.parse::<u32>().map_or(Value::Null, Value::from),
        _ => Value::String(text),
    };
    let said = said.into_iter().filter_map(|(name, text)| Some((name.to_owned(), number(name, text?))));
    Value::Object(said.collect())
}
