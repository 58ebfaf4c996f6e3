//! Piston's interface (version 2), for clients of its public service, which is closed.

mod connect;
mod request;
mod result;
mod version;

use crate::auth::Caller;
use crate::json::Json;
use crate::live::{self, Happening, LiveRun};
use crate::problem::{Dialect, Problem};
use crate::service::Service;
use crate::v1;
use axum::Extension;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Response, StatusCode};
use axum::routing::{get, post};
pub(crate) use request::policy_of;
use request::refused;
use result::Written;
use serde_json::{Value, json};
use std::sync::Arc;

pub(crate) fn routes() -> Router<Arc<Service>> {
    Router::new()
        .route("/runtimes", get(runtimes))
        .route("/packages", get(packages).post(change).delete(change))
        .route("/execute", post(execute))
        .route("/connect", get(connect::connect))
}

async fn runtimes(State(service): State<Arc<Service>>) -> axum::Json<Value> {
    let setup = service.setup();
    let runtimes = setup.environments.iter().map(|environment| {
        let version = &environment.interpreter.version;
        json!({ "language": "python", "version": version, "aliases": request::aliases(environment) })
    });
    axum::Json(runtimes.collect())
}

/// What is installed is all there is.
async fn packages(State(service): State<Arc<Service>>) -> axum::Json<Value> {
    let setup = service.setup();
    let packages = setup.environments.iter().map(|environment| {
        let version = &environment.interpreter.version;
        json!({ "language": "python", "language_version": version, "installed": true })
    });
    axum::Json(packages.collect())
}

/// Nothing is installed or removed through HTTP.
async fn change(
    State(service): State<Arc<Service>>,
    Extension(caller): Extension<Arc<Caller>>,
    request: Request,
) -> Response<Body> {
    let answer = async {
        let setup = service.setup();
        let limits = &setup.config.requests;
        let memory = service.memory.of(&caller);
        let (bytes, lease) =
            memory.read(request.into_body(), limits.body.0, limits.body_time.as_std()).await?;
        let package = move || {
            let package = parse(&bytes)?;
            let text = |key: &str| package.get(key).and_then(Json::string);
            Ok(["language", "version"].map(|key| text(key).unwrap_or_else(|| "undefined".into())))
        };
        let [language, version] = v1::beside(lease.is_large(), package).await?;
        Err::<Response<Body>, _>(match request::environment(&setup, &language, &version) {
            Ok(_) => {
                let detail = format!("{language}-{version} is the service's own: its operator changes it");
                Problem::new(StatusCode::FORBIDDEN, "piston", detail)
            }
            Err(_) => {
                let detail = format!("Requested package {language}-{version} does not exist");
                Problem::new(StatusCode::NOT_FOUND, "piston", detail)
            }
        })
    };
    answer.await.unwrap_or_else(|problem: Problem| problem.into_response_of(Dialect::Piston))
}

async fn execute(
    State(service): State<Arc<Service>>,
    Extension(caller): Extension<Arc<Caller>>,
    request: Request,
) -> Response<Body> {
    let answer = run(&service, &caller, request).await;
    answer.unwrap_or_else(|problem| problem.into_response_of(Dialect::Piston))
}

async fn run(
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
        move || request::prepare(parse(&bytes)?, &setup, &caller)
    };
    let prepared = v1::beside(lease.is_large(), prepare).await?;
    let connect = || live::pipes(Some(prepared.stdin), None);
    let (going, ends) = service.start("piston", caller, prepared.job, connect).await?;
    drop(lease);
    let mut run = LiveRun { going, ends };
    let mut written = Written::default();
    let report = loop {
        match run.next().await {
            Happening::Output { stream, piece } => {
                let text = piece.into_text();
                written.output.push_str(&text);
                let own = if stream == "stdout" { &mut written.stdout } else { &mut written.stderr };
                own.push_str(&text);
            }
            Happening::Ended(report) => break (*report)?,
        }
    };
    v1::json(&memory, result::result(&report, written).to_string().into_bytes()).await
}

fn parse(bytes: &[u8]) -> Result<Json<'_>, Problem> {
    Json::read(bytes).map_err(|error| refused(format!("the body is not JSON: {error}")))
}
