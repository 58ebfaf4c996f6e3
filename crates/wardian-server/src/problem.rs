//! What a request that cannot be served gets: a precise status, and a body that names the field.

use crate::request_id;
use axum::Json;
use axum::body::Body;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::fmt::Display;

/// Whose words an answer is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Our own: `application/problem+json` (RFC 9457).
    Native,
    /// `{"title", "description"}`.
    Snekbox,
    /// `{"message"}`.
    Piston,
    /// `{"error"}`.
    Edx,
}

impl Dialect {
    /// The interface that a path belongs to.
    pub(crate) fn of(path: &str) -> Dialect {
        match path {
            "/eval" => Dialect::Snekbox,
            "/health/" => Dialect::Edx,
            _ if path.starts_with("/api/v0/") => Dialect::Edx,
            _ if path.starts_with("/api/v2/") => Dialect::Piston,
            _ => Dialect::Native,
        }
    }
}

/// Why a request is not served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    /// A stable word for programs.
    pub(crate) kind: &'static str,
    /// One sentence for a person.
    pub(crate) detail: String,
    /// The field of the body that is wrong: `files[2].path`.
    pub(crate) field: Option<String>,
    /// What to do about it.
    pub(crate) hint: Option<String>,
    /// Seconds after which to try again.
    pub(crate) retry_after: Option<u64>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, kind: &'static str, detail: impl Into<String>) -> Problem {
        Problem { status, kind, detail: detail.into(), field: None, hint: None, retry_after: None }
    }

    /// A body that can be read but not be done.
    pub(crate) fn field(field: impl Into<String>, detail: impl ToString) -> Problem {
        let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-field", detail.to_string());
        Problem { field: Some(field.into()), ..problem }
    }

    /// A plain request where a WebSocket is.
    pub(crate) fn no_upgrade(rejection: &WebSocketUpgradeRejection) -> Problem {
        let detail = format!("a WebSocket is here: {rejection}");
        Problem::new(StatusCode::UPGRADE_REQUIRED, "upgrade-required", detail)
    }

    /// Something of ours that failed. Why is for the log: it may name what is on this machine.
    pub(crate) fn ours(detail: impl Display) -> Problem {
        tracing::error!(%detail, "failed");
        Problem::untold("internal")
    }

    /// Something of ours that failed, as the log says.
    pub(crate) fn untold(kind: &'static str) -> Problem {
        let detail = "the service failed, not the program; its log says why";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, kind, detail)
    }

    /// The sentence, and under which name the log says more.
    pub(crate) fn told(&self) -> Cow<'_, str> {
        match request_id::current() {
            Some(id) if matches!(self.kind, "internal" | "sandbox" | "not-ready") => {
                Cow::Owned(format!("{} (request {id})", self.detail))
            }
            _ => short(&self.detail),
        }
    }

    pub(crate) fn with_hint(self, hint: Option<String>) -> Problem {
        Problem { hint, ..self }
    }

    pub(crate) fn retry_after(self, seconds: u64) -> Problem {
        Problem { retry_after: Some(seconds), ..self }
    }

    /// The sentence and what to do about it, where there is one text for both.
    fn told_with_hint(&self) -> String {
        let hint = self.hint.as_deref().map(|hint| format!(" ({})", short(hint)));
        format!("{}{}", self.told(), hint.unwrap_or_default())
    }

    /// The body in our own words.
    pub(crate) fn to_json(&self) -> Value {
        let mut body = json!({
            "type": format!("urn:wardian:problem:{}", self.kind),
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "detail": self.told(),
        });
        if let Some(object) = body.as_object_mut() {
            let more = [("field", &self.field), ("hint", &self.hint)];
            object.extend(more.into_iter().filter_map(|(key, value)| {
                value.as_ref().map(|value| (key.to_owned(), Value::String(short(value).into_owned())))
            }));
        }
        body
    }

    /// The answer in the words of `dialect`.
    pub(crate) fn into_response_of(self, dialect: Dialect) -> Response<Body> {
        let body = match dialect {
            Dialect::Native => self.to_json(),
            Dialect::Snekbox => {
                json!({ "title": self.snekbox_title(), "description": self.told_with_hint() })
            }
            Dialect::Piston => json!({ "message": self.told_with_hint() }),
            Dialect::Edx => json!({ "error": self.told_with_hint() }),
        };
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        if dialect == Dialect::Native {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        }
        if self.status == StatusCode::UPGRADE_REQUIRED {
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer, Basic realm=\"wardian\""),
            );
        }
        response
    }

    fn snekbox_title(&self) -> String {
        match (&self.field, self.status) {
            // Its own titles of bad requests travel in the field.
            (Some(title), StatusCode::BAD_REQUEST) => title.clone(),
            _ => format!("{} {}", self.status.as_u16(), self.status.canonical_reason().unwrap_or("Error")),
        }
    }
}

/// What a client sent may be quoted; all of it is too much.
fn short(text: &str) -> Cow<'_, str> {
    const MOST: usize = 4096;
    match text.char_indices().find(|(at, c)| at + c.len_utf8() > MOST) {
        Some((end, _)) => Cow::Owned(format!("{}…", text.get(..end).unwrap_or_default())),
        None => Cow::Borrowed(text),
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response<Body> {
        self.into_response_of(Dialect::Native)
    }
}
