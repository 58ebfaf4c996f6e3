//! Our own interface.

pub(crate) mod request;
mod run;

use crate::service::Service;
use axum::Router;
use axum::routing::post;
use std::sync::Arc;

pub(crate) fn routes() -> Router<Arc<Service>> {
    Router::new().route("/v1/run", post(run::run))
}
