//! `POST /v1/run`: a program in, a report out.

use super::request::{Prepared, RunRequest, parse};
use crate::auth::Caller;
use crate::idempotency::{self, Identity, Known};
use crate::memory::{Lease, Memory};
use crate::problem::Problem;
use crate::service::{self, Service};
use axum::Extension;
use axum::body::Body;
use axum::extract::{FromRequest, Multipart, Request, State};
use axum::http::{HeaderValue, Response, StatusCode, header};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use tokio::runtime::Handle;
use wardian::sandbox::Connections;

pub(crate) async fn run(
    State(service): State<Arc<Service>>,
    Extension(caller): Extension<Arc<Caller>>,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let memory = service.memory.of(&caller);
    let mut received = receive(&service, &caller, request).await?;
    let mut claim = None;
    if let Some(name) = received.name.take() {
        let body;
        (body, received) =
            beside(received.lease.is_large(), move || Ok((received.identity(), received))).await?;
        match service.answers.look_up(&caller.id, name, body)? {
            Known::Answer(answer) => return json(&memory, answer.to_vec()).await,
            Known::New(new) => claim = Some(new),
        }
    }
    let (prepared, lease) = prepare(&service, &caller, received, false).await?;
    let kept = service::kept(prepared.stdin, prepared.collect);
    let connections = Connections { result: prepared.result, ..kept };
    let report = service.run("v1", &caller, prepared.job, connections).await?;
    drop(lease);
    let bytes = serde_json::to_vec(&report).map_err(Problem::ours)?;
    if let Some(claim) = claim {
        claim.keep(&bytes);
    }
    json(&memory, bytes).await
}

pub(crate) async fn json(memory: &Memory, bytes: Vec<u8>) -> Result<Response<Body>, Problem> {
    let mut response = Response::new(memory.answer(bytes).await?);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// A request as it came.
pub(crate) struct Received {
    /// Its `Idempotency-Key`.
    name: Option<String>,
    json: Vec<u8>,
    binary: Files,
    lease: Lease,
}

impl Received {
    /// What makes two requests the same one.
    fn identity(&self) -> Identity {
        let mut digest = Sha256::new();
        let parts = self.binary.iter().flat_map(|(name, bytes)| [name.as_bytes(), bytes]);
        for part in [self.json.as_slice()].into_iter().chain(parts) {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
        digest.finalize().into()
    }
}

/// Reads a request of either content type.
pub(crate) async fn receive(
    service: &Service,
    caller: &Caller,
    request: Request,
) -> Result<Received, Problem> {
    let setup = service.setup();
    let limits = &setup.config.requests;
    let (parts, body) = request.into_parts();
    let name = idempotency::name(&parts.headers)?;
    let memory = service.memory.of(caller);
    let (bytes, lease) = memory.read(body, limits.body.0, limits.body_time.as_std()).await?;
    let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let multipart = content_type.is_some_and(|text| text.to_ascii_lowercase().starts_with("multipart/"));
    let (json, binary) = if multipart {
        let request = Request::from_parts(parts, Body::from(bytes));
        beside_waiting(lease.is_large(), parts_of(request, limits.files)).await?
    } else {
        (bytes, Files::new())
    };
    Ok(Received { name, json, binary, lease })
}

/// Makes a job of it.
pub(crate) async fn prepare(
    service: &Arc<Service>,
    caller: &Arc<Caller>,
    received: Received,
    live: bool,
) -> Result<(Prepared, Lease), Problem> {
    let Received { json, binary, lease, .. } = received;
    let (setup, caller) = (service.setup(), Arc::clone(caller));
    let prepare = move || parse::<RunRequest>(&json)?.prepare(&setup, &caller, binary, live);
    Ok((beside(lease.is_large(), prepare).await?, lease))
}

/// Does something here, or on a thread that may take its time.
pub(crate) async fn beside<T: Send + 'static>(
    large: bool,
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    if !large {
        return work();
    }
    tokio::task::spawn_blocking(work).await.map_err(Problem::ours)?
}

/// The same for what only looks as if it had to wait.
pub(crate) async fn beside_waiting<T: Send + 'static>(
    large: bool,
    work: impl Future<Output = Result<T, Problem>> + Send + 'static,
) -> Result<T, Problem> {
    if !large {
        return work.await;
    }
    let here = Handle::current();
    beside(true, move || here.block_on(work)).await
}

type Files = Vec<(String, Vec<u8>)>;

/// The part `request`, which is JSON, and parts with a file's name, which are files.
async fn parts_of(request: Request, most: usize) -> Result<(Vec<u8>, Files), Problem> {
    let broken = |detail: String| Problem::new(StatusCode::BAD_REQUEST, "broken-multipart", detail);
    let mut multipart =
        Multipart::from_request(request, &()).await.map_err(|error| broken(error.body_text()))?;
    let (mut json, mut files) = (None, Files::new());
    while let Some(field) = multipart.next_field().await.map_err(|error| broken(error.body_text()))? {
        let name = field.name().unwrap_or_default().to_owned();
        let file_name = field.file_name().map(str::to_owned);
        let bytes = field.bytes().await.map_err(|error| broken(error.body_text()))?.to_vec();
        match (name.as_str(), file_name) {
            ("request", _) if json.is_none() => json = Some(bytes),
            ("request", _) => return Err(Problem::field("request", "comes twice")),
            (_, Some(file_name)) if files.len() < most => files.push((file_name, bytes)),
            (_, Some(_)) => return Err(Problem::field("files", format!("more than {most} files"))),
            (other, None) => {
                let detail = "is neither `request` nor a file with a name";
                return Err(Problem::field(other.escape_debug().to_string(), detail));
            }
        }
    }
    Ok((json.unwrap_or_else(|| b"{}".to_vec()), files))
}
