//! Our own interface.

mod environments;
pub(crate) mod request;
mod run;
mod stream;
mod ws;

use crate::service::Service;
use axum::Router;
use axum::routing::{get, post};
use std::sync::Arc;

pub(crate) fn routes() -> Router<Arc<Service>> {
    Router::new()
        .route("/v1/environments", get(environments::environments))
        .route("/v1/run", post(run::run))
        .route("/v1/run/stream", post(stream::stream))
        .route("/v1/run/ws", get(ws::ws))
}

pub(crate) use run::{beside, beside_waiting, json};
