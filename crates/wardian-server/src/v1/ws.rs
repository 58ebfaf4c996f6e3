//! `GET /v1/run/ws`: a run with interactive input, over a WebSocket.
//!
//! The first message is the request of `/v1/run`; then come `stdin`, `eof` and `signal`. Out go `started`, `stdout`,
//! `stderr`, and at last `report` or `problem`.

use super::request::{RunRequest, parse};
use crate::auth::Caller;
use crate::live::{self, Happening, LiveRun};
use crate::memory::Memory;
use crate::problem::Problem;
use crate::service::Service;
use crate::signals;
use crate::upgrade::{self, Held, Link};
use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::http::{Response, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use wardian::sandbox::Connections;

pub(crate) async fn ws(
    State(service): State<Arc<Service>>,
    Extension(caller): Extension<Arc<Caller>>,
    Extension(link): Extension<Link>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response<Body>, Problem> {
    let (upgrade, held) = upgrade::accept(upgrade, &service, &caller, link)?;
    Ok(upgrade::talk(upgrade, move |socket| serve(socket, service, caller, held)))
}

/// What a client says after its request.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
enum Word {
    Stdin {
        text: Option<String>,
        base64: Option<String>,
    },
    Eof {},
    /// Nobody reads this stream any more: the program is told as a pipe would tell it.
    Close {
        stream: String,
    },
    Signal {
        signal: String,
    },
}

async fn serve(mut socket: WebSocket, service: Arc<Service>, caller: Arc<Caller>, held: Held) {
    let talked = match start(&mut socket, &service, &caller).await {
        Ok(Some((run, early))) => converse(&mut socket, run, early, &service.memory.of(&caller)).await,
        Ok(None) => return,
        Err(problem) => Err(problem),
    };
    let code = match talked {
        Ok(()) => close_code::NORMAL,
        Err(problem) => refuse(&mut socket, &held.refused().unwrap_or(problem)).await,
    };
    let _ = socket.send(Message::Close(Some(CloseFrame { code, reason: "".into() }))).await;
}

/// The close code that goes with a problem, once that is told.
async fn refuse(socket: &mut WebSocket, problem: &Problem) -> u16 {
    let _ = say(socket, json!({ "type": "problem", "problem": problem.to_json() })).await;
    match problem.status.as_u16() {
        429 | 503 => close_code::AGAIN,
        500.. => close_code::ERROR,
        _ => close_code::POLICY,
    }
}

/// The run, and what the client has said meanwhile; none if it is gone.
async fn start(
    socket: &mut WebSocket,
    service: &Arc<Service>,
    caller: &Arc<Caller>,
) -> Result<Option<(LiveRun, Vec<String>)>, Problem> {
    let setup = service.setup();
    let patience = setup.config.requests.head_time.as_std();
    let first = tokio::time::timeout(patience, text(socket)).await;
    let Some(first) = first.map_err(|_| {
        Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "slow-body",
            "the first message, which is the request, did not come in time",
        )
    })??
    else {
        return Ok(None);
    };
    let prepared = parse::<RunRequest>(first.as_bytes())?.prepare(&setup, caller, Vec::new(), true)?;
    let connect = || {
        let (connections, mut ends) = live::pipes(None, prepared.collect)?;
        if let Some(feed) = &mut ends.stdin {
            feed.push(&prepared.stdin);
        }
        Ok((Connections { result: prepared.result, ..connections }, ends))
    };
    let starting = service.start("ws", caller, prepared.job, connect);
    let mut early = Vec::new();
    let going = tokio::select! {
        going = starting => Some(going?),
        // Whoever leaves gives up the turn.
        gone = listen(socket, &mut early) => gone.map(|()| None)?,
    };
    Ok(going.map(|(going, ends)| (LiveRun { going, ends }, early)))
}

/// Keeps what is said before the program can hear it; returns when the client is gone.
async fn listen(socket: &mut WebSocket, said: &mut Vec<String>) -> Result<(), Problem> {
    let mut bytes = 0;
    while bytes < live::Feed::ENOUGH {
        let Some(message) = text(socket).await? else { return Ok(()) };
        // An empty message takes its place too.
        bytes += message.len() + size_of::<String>();
        said.push(message);
    }
    std::future::pending().await
}

/// The next text; none when the client is gone.
async fn text(socket: &mut WebSocket) -> Result<Option<String>, Problem> {
    let broken = |detail: String| Problem::new(StatusCode::BAD_REQUEST, "broken-message", detail);
    while let Some(message) = socket.recv().await {
        match message.map_err(|error| broken(format!("cannot read the message: {error}")))? {
            Message::Text(text) => return Ok(Some(text.to_string())),
            Message::Binary(bytes) => {
                let text = String::from_utf8(bytes.into());
                return text.map(Some).map_err(|_| broken("the message is neither text nor UTF-8".into()));
            }
            Message::Ping(_) | Message::Pong(_) => {}
            Message::Close(_) => break,
        }
    }
    Ok(None)
}

/// Both ways, until the run is over or the client is gone.
async fn converse(
    socket: &mut WebSocket,
    mut run: LiveRun,
    early: Vec<String>,
    memory: &Memory,
) -> Result<(), Problem> {
    if say(socket, json!({ "type": "started" })).await.is_none() {
        return Ok(());
    }
    let mut feed = run.ends.stdin.take();
    for message in early {
        hear(&message, &mut run, feed.as_mut())?;
    }
    loop {
        let has_room = feed.as_ref().is_none_or(live::Feed::has_room);
        let flow = async {
            match &mut feed {
                Some(feed) => feed.flow().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            happening = run.next() => match happening {
                Happening::Output { stream, piece } => {
                    let mut message = piece.to_json();
                    message.insert("type".into(), stream.into());
                    if tell(socket, &Value::Object(message), memory).await?.is_none() {
                        return Ok(());
                    }
                }
                Happening::Ended(ended) => {
                    let message = json!({ "type": "report", "report": (*ended)? });
                    return tell(socket, &message, memory).await.map(drop);
                }
            },
            message = text(socket), if has_room => match message? {
                Some(message) => hear(&message, &mut run, feed.as_mut())?,
                None => return Ok(()),
            },
            () = flow => {}
        }
    }
}

fn hear(message: &str, run: &mut LiveRun, feed: Option<&mut live::Feed>) -> Result<(), Problem> {
    match (parse::<Word>(message.as_bytes())?, feed) {
        (Word::Stdin { text, base64 }, feed) => {
            let bytes = match (text, base64) {
                (Some(text), None) => text.into_bytes(),
                (None, Some(base64)) => STANDARD
                    .decode(base64)
                    .map_err(|error| Problem::field("base64", format!("is not base64: {error}")))?,
                _ => return Err(Problem::field("text", "is given, or `base64` is, and not both")),
            };
            if let Some(feed) = feed {
                feed.push(&bytes);
            }
        }
        (Word::Close { stream }, _) => {
            if !run.ends.close(&stream) {
                return Err(Problem::field("stream", "is neither `stdout` nor `stderr`"));
            }
        }
        (Word::Eof {}, Some(feed)) => feed.end(),
        (Word::Signal { signal }, _) => {
            let number = signals::number(&signal);
            run.going.signal(number.ok_or_else(|| Problem::field("signal", "is no signal's name"))?);
        }
        (_, None) => {}
    }
    Ok(())
}

/// Says what may be large, which counts until the client has taken it.
async fn tell(socket: &mut WebSocket, message: &Value, memory: &Memory) -> Result<Option<()>, Problem> {
    let text = message.to_string();
    let _lease = memory.hold(text.capacity()).await?;
    Ok(socket.send(Message::Text(text.into())).await.ok())
}

/// None: the client is gone.
async fn say(socket: &mut WebSocket, message: Value) -> Option<()> {
    socket.send(Message::Text(message.to_string().into())).await.ok()
}
