//! Which path is whose.

use crate::guard;
use crate::problem::{Dialect, Problem};
use crate::service::Service;
use crate::{edx, health, openapi, piston, snekbox, v1};
use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::middleware;
use axum::routing::{get, post};
use std::sync::Arc;

pub(crate) fn router(service: Arc<Service>) -> Router {
    Router::new()
        .route("/", get(openapi::page))
        .route("/page.js", get(openapi::script))
        .route("/openapi.json", get(openapi::document))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(figures))
        .route("/eval", post(snekbox::eval))
        .route("/api/v0/code-exec", post(edx::code_exec))
        .route("/health/", get(edx::health))
        .merge(v1::routes())
        .nest("/api/v2", piston::routes())
        .nest("/api/v2/piston", piston::routes())
        .fallback(nothing_here)
        .method_not_allowed_fallback(not_so)
        // Bodies are read within the configuration's bounds; axum's own are others.
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn_with_state(Arc::clone(&service), guard::guard))
        .with_state(service)
}

async fn figures(State(service): State<Arc<Service>>) -> Result<Response<Body>, Problem> {
    let connections = service.crowd.len();
    let text = service
        .metrics
        .text(&service.setup(), &service.gate, connections, service.memory.held())
        .map_err(Problem::ours)?;
    let mut response = Response::new(Body::from(text));
    let media_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    Ok(response)
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
