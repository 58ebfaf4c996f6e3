//! A request's name: in the log, in its answer, and in what a client is told when the log says more.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use std::future::Future;
use tracing::Instrument;

pub(crate) const HEADER: HeaderName = HeaderName::from_static("x-request-id");

tokio::task_local! {
    /// Of the request that is being served.
    static CURRENT: HeaderValue;
}

/// The client's name for its request, if it is one that can stand in a log; else one of ours.
pub(crate) fn of(headers: &HeaderMap) -> HeaderValue {
    let fits = |value: &&HeaderValue| {
        let bytes = value.as_bytes();
        let word = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
        (1..=64).contains(&bytes.len()) && bytes.iter().all(word)
    };
    headers.get(HEADER).filter(fits).cloned().unwrap_or_else(|| {
        let mut bytes = [0u8; 8];
        let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
        let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("none"))
    })
}

/// Serves a request under its name.
pub(crate) async fn under<F: Future>(id: HeaderValue, serving: F) -> F::Output {
    CURRENT.scope(id, serving).await
}

/// The name and span of a request, for what goes on when its handler has answered.
pub(crate) struct Origin {
    id: HeaderValue,
    span: tracing::Span,
}

impl Origin {
    /// Of the request that is being served here.
    pub(crate) fn here() -> Origin {
        let id = CURRENT.try_with(HeaderValue::clone).unwrap_or_else(|_| HeaderValue::from_static("none"));
        Origin { id, span: tracing::Span::current() }
    }

    /// Goes on with it.
    pub(crate) fn over<F: Future>(self, rest: F) -> impl Future<Output = F::Output> {
        CURRENT.scope(self.id, rest.instrument(self.span))
    }
}

/// The name, where a request is being served.
pub(crate) fn current() -> Option<String> {
    CURRENT.try_with(|id| id.to_str().map(str::to_owned).ok()).ok().flatten()
}
