//! Which path is whose.

use crate::guard;
use crate::problem::{Dialect, Problem};
use crate::service::Service;
use crate::v1;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{Response, StatusCode};
use axum::middleware;
use std::sync::Arc;

pub(crate) fn router(service: Arc<Service>) -> Router {
    Router::new()
        .merge(v1::routes())
        .fallback(nothing_here)
        .method_not_allowed_fallback(not_so)
        .layer(middleware::from_fn_with_state(Arc::clone(&service), guard::guard))
        .with_state(service)
}

async fn nothing_here(request: Request) -> Response<Body> {
    let problem = Problem::new(StatusCode::NOT_FOUND, "not-found", "there is nothing at this path");
    problem.into_response_of(Dialect::of(request.uri().path()))
}

async fn not_so(request: Request) -> Response<Body> {
    let detail = format!("this path does not take {}", request.method());
    let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method", detail);
    problem.into_response_of(Dialect::of(request.uri().path()))
}
