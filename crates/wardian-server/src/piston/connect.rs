//! Piston's WebSocket: a run with interactive input.

use super::request;
use super::result::Ending;
use crate::auth::Caller;
use crate::json::Json;
use crate::live::{self, Feed, Happening, LiveRun};
use crate::memory::Memory;
use crate::problem::{Dialect, Problem};
use crate::service::Service;
use crate::signals;
use crate::upgrade::{self, Held, Link};
use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::http::Response;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// How long a client may take to say what is to be run.
const INIT_TIME: Duration = Duration::from_secs(1);

/// Why a connection ends: its numbers and words.
#[derive(Clone, Copy)]
enum End {
    AlreadyInitialized,
    InitTimeout,
    Notified,
    NotInitialized,
    OnlyStdin,
    InvalidSignal,
    Completed,
    /// The client is gone.
    Gone,
}

impl End {
    fn frame(self) -> Option<CloseFrame> {
        let (code, reason) = match self {
            End::AlreadyInitialized => (4000, "Already Initialized"),
            End::InitTimeout => (4001, "Initialization Timeout"),
            End::Notified => (4002, "Notified Error"),
            End::NotInitialized => (4003, "Not yet initialized"),
            End::OnlyStdin => (4004, "Can only write to stdin"),
            End::InvalidSignal => (4005, "Invalid signal"),
            End::Completed => (4999, "Job Completed"),
            End::Gone => return None,
        };
        Some(CloseFrame { code, reason: reason.into() })
    }
}

pub(super) async fn connect(
    State(service): State<Arc<Service>>,
    Extension(caller): Extension<Arc<Caller>>,
    Extension(link): Extension<Link>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response<Body> {
    match upgrade::accept(upgrade, &service, &caller, link) {
        Ok((upgrade, held)) => upgrade::talk(upgrade, move |socket| serve(socket, service, caller, held)),
        Err(problem) => problem.into_response_of(Dialect::Piston),
    }
}

async fn serve(mut socket: WebSocket, service: Arc<Service>, caller: Arc<Caller>, held: Held) {
    let mut end = match begin(&mut socket, &service, &caller).await {
        Ok((run, early)) => converse(&mut socket, run, early, &service.memory.of(&caller)).await,
        Err(end) => end,
    };
    if let Some(problem) = held.refused() {
        end = notify(&mut socket, &problem).await;
    }
    if let Some(frame) = end.frame() {
        let _ = socket.send(Message::Close(Some(frame))).await;
    }
}

/// What a client says.
enum Word {
    /// What is to be run: the whole message.
    Init(Vec<u8>),
    /// Input.
    Data(String),
    /// Input for what takes none.
    Elsewhere,
    /// A signal; none if it is not one.
    Signal(Option<u8>),
    /// What nobody knows is nobody's.
    Other,
}

impl Word {
    /// What it takes while it waits.
    fn bytes(&self) -> usize {
        size_of::<Word>()
            + match self {
                Word::Init(message) => message.len(),
                Word::Data(text) => text.len(),
                Word::Elsewhere | Word::Signal(_) | Word::Other => 0,
            }
    }

    fn read(message: Vec<u8>) -> Result<Word, Problem> {
        let json = super::parse(&message)?.pick(&["type", "stream", "data", "signal"]);
        let text = |key: &str| json.get(key).and_then(Json::string).unwrap_or_default();
        Ok(match text("type").as_str() {
            "init" => Word::Init(message),
            "data" if text("stream") == "stdin" => Word::Data(text("data")),
            "data" => Word::Elsewhere,
            "signal" => Word::Signal(signals::number(&text("signal"))),
            _ => Word::Other,
        })
    }
}

/// Waits for `init`, and starts what it says; and what the client has said meanwhile.
async fn begin(
    socket: &mut WebSocket,
    service: &Arc<Service>,
    caller: &Arc<Caller>,
) -> Result<(LiveRun, Vec<Word>), End> {
    let first = tokio::time::timeout(INIT_TIME, init(socket)).await.map_err(|_| End::InitTimeout)??;
    let mut early = Vec::new();
    let started = tokio::select! {
        started = start(service, caller, &first) => started,
        // Whoever leaves gives up the turn.
        end = listen(socket, &mut early) => return Err(end),
    };
    match started {
        Ok((run, version)) => {
            say(socket, json!({ "type": "runtime", "language": "python", "version": version })).await?;
            say(socket, json!({ "type": "stage", "stage": "run" })).await?;
            Ok((run, early))
        }
        Err(problem) => Err(notify(socket, &problem).await),
    }
}

/// Keeps what is said before the program can hear it; returns when there is no more to hear.
async fn listen(socket: &mut WebSocket, said: &mut Vec<Word>) -> End {
    let mut bytes = 0;
    while bytes < Feed::ENOUGH {
        match hear(socket).await {
            Ok(word) => {
                bytes += word.bytes();
                said.push(word);
            }
            Err(Some(problem)) => return notify(socket, &problem).await,
            Err(None) => return End::Gone,
        }
    }
    std::future::pending().await
}

/// The first message that is one.
async fn init(socket: &mut WebSocket) -> Result<Vec<u8>, End> {
    loop {
        match hear(socket).await {
            Ok(Word::Init(message)) => return Ok(message),
            Ok(Word::Other) => {}
            Ok(Word::Data(_) | Word::Elsewhere | Word::Signal(_)) => return Err(End::NotInitialized),
            Err(Some(problem)) => return Err(notify(socket, &problem).await),
            Err(None) => return Err(End::Gone),
        }
    }
}

/// Starts it; its input is what comes later, and nothing of the message.
async fn start(
    service: &Arc<Service>,
    caller: &Arc<Caller>,
    init: &[u8],
) -> Result<(LiveRun, String), Problem> {
    let prepared = request::prepare(super::parse(init)?, &service.setup(), caller)?;
    let version = prepared.job.environment.interpreter.version.clone();
    let connect = || live::pipes(None, None);
    let (going, ends) = service.start("piston", caller, prepared.job, connect).await?;
    Ok((LiveRun { going, ends }, version))
}

async fn converse(socket: &mut WebSocket, mut run: LiveRun, early: Vec<Word>, memory: &Memory) -> End {
    let Some(mut feed) = run.ends.stdin.take() else { return End::Gone };
    if let Some(end) = early.into_iter().find_map(|word| obey(word, &run, &mut feed).err()) {
        return end;
    }
    loop {
        let has_room = feed.has_room();
        let happened = tokio::select! {
            happening = run.next() => tell(socket, happening, memory).await,
            message = hear(socket), if has_room => match message {
                Ok(word) => obey(word, &run, &mut feed),
                Err(Some(problem)) => Err(notify(socket, &problem).await),
                Err(None) => Err(End::Gone),
            },
            () = feed.flow() => Ok(()),
        };
        if let Err(end) = happened {
            return end;
        }
    }
}

async fn tell(socket: &mut WebSocket, happening: Happening, memory: &Memory) -> Result<(), End> {
    match happening {
        Happening::Output { stream, piece } => {
            let message = json!({ "type": "data", "stream": stream, "data": piece.into_text() }).to_string();
            // It counts until the client has taken it.
            match memory.hold(message.capacity()).await {
                Ok(_lease) => socket.send(Message::Text(message.into())).await.map_err(|_| End::Gone),
                Err(problem) => Err(notify(socket, &problem).await),
            }
        }
        Happening::Ended(ended) => match *ended {
            Ok(report) => {
                let Ending { code, signal, .. } = Ending::of(&report);
                say(socket, json!({ "type": "exit", "stage": "run", "code": code, "signal": signal }))
                    .await?;
                Err(End::Completed)
            }
            Err(problem) => Err(notify(socket, &problem).await),
        },
    }
}

fn obey(word: Word, run: &LiveRun, feed: &mut Feed) -> Result<(), End> {
    match word {
        Word::Init(_) => return Err(End::AlreadyInitialized),
        Word::Data(text) => feed.push(text.as_bytes()),
        Word::Elsewhere => return Err(End::OnlyStdin),
        Word::Signal(number) => run.going.signal(number.ok_or(End::InvalidSignal)?),
        Word::Other => {}
    }
    Ok(())
}

async fn notify(socket: &mut WebSocket, problem: &Problem) -> End {
    match say(socket, json!({ "type": "error", "message": problem.told() })).await {
        Ok(()) => End::Notified,
        Err(end) => end,
    }
}

/// The next message; no problem to tell when the client is gone.
async fn hear(socket: &mut WebSocket) -> Result<Word, Option<Problem>> {
    loop {
        match socket.recv().await {
            Some(Ok(Message::Text(text))) => return Word::read(text.as_bytes().into()).map_err(Some),
            Some(Ok(Message::Binary(bytes))) => return Word::read(bytes.into()).map_err(Some),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(Message::Close(_)) | Err(_)) | None => return Err(None),
        }
    }
}

async fn say(socket: &mut WebSocket, message: Value) -> Result<(), End> {
    socket.send(Message::Text(message.to_string().into())).await.map_err(|_| End::Gone)
}
