//! Before any handler: a name for the request, who calls, and whether a web page may be behind it.

use crate::auth::Caller;
use crate::problem::{Dialect, Problem};
use crate::request_id;
use crate::service::{self, Service};
use crate::setup::Setup;
use crate::upgrade::Link;
use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use axum::middleware::Next;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;
use tracing::Instrument;

/// Where a connection comes in.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Peer {
    /// Over TCP, at this address that we listen at.
    Tcp(IpAddr),
    /// Over the unix socket: whoever may open it.
    Unix,
}

/// Looks at every request, and at every answer.
pub(crate) async fn guard(
    State(service): State<Arc<Service>>,
    mut request: Request,
    next: Next,
) -> Response<Body> {
    let started = Instant::now();
    let id = request_id::of(request.headers());
    let dialect = Dialect::of(request.uri().path());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    // Never a client's own words.
    let route = request.extensions().get::<MatchedPath>().cloned();
    let origin = request.headers().get(header::ORIGIN).cloned();
    let span =
        tracing::info_span!("request", id = id.to_str().unwrap_or_default(), key = tracing::field::Empty);
    let setup = service.setup();
    let answer = async {
        let mut response = match admit(&service, &setup, &mut request) {
            Ok(Some(answer)) => answer,
            Ok(None) => next.run(request).await,
            Err(problem) => problem.into_response_of(dialect),
        };
        finish(&mut response, &id, origin.filter(|origin| listed(&setup, origin)));
        let status = response.status().as_u16();
        service.metrics.answered(route.as_ref().map_or("other", MatchedPath::as_str), status);
        let took_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        tracing::info!(%method, path = %shown(&path), status, took_us, "answered");
        response
    };
    request_id::under(id.clone(), answer.instrument(span)).await
}

/// Lets a request pass to its handler, answers it, or refuses it.
fn admit(
    service: &Arc<Service>,
    setup: &Setup,
    request: &mut Request,
) -> Result<Option<Response<Body>>, Problem> {
    let peer = request.extensions().get::<Peer>().copied();
    let path = request.uri().path().to_owned();
    let headers = request.headers();
    let offered = match Dialect::of(&path) {
        Dialect::Native => true,
        Dialect::Snekbox => setup.config.snekbox.enabled,
        Dialect::Piston => setup.config.piston.enabled,
        Dialect::Edx => setup.config.edx.enabled,
    };
    if !offered {
        return Err(switched_off(&path));
    }
    if let Some(Peer::Tcp(local)) = peer {
        check_host(headers, request.uri().host(), local, setup)?;
    }
    check_origin(headers, setup)?;
    if request.method() == Method::OPTIONS {
        return Ok(preflight(headers, &path));
    }
    if matches!(path.as_str(), "/" | "/page.js" | "/health/" | "/healthz" | "/readyz" | "/openapi.json") {
        return Ok(None);
    }
    let caller = match peer {
        Some(Peer::Unix) => Arc::new(Caller::anonymous("unix")),
        // A connection outlives the place it came in at: without keys this may be one from beyond loopback.
        Some(Peer::Tcp(local)) if setup.keys.is_empty() && local.is_loopback() => {
            Arc::new(Caller::anonymous("loopback"))
        }
        _ => setup.keys.find(headers)?,
    };
    tracing::Span::current().record("key", &*caller.id);
    if let Some(link) = request.extensions().get::<Link>().filter(|_| caller.has_key) {
        let most = setup.config.requests.connections;
        if !link.place.serve(&caller.id, most) {
            let detail = "half of all connections serve this key: others find the rest";
            return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "connections", detail).retry_after(1));
        }
    }
    // Whatever may have a body costs what a run does.
    let sends = !matches!(*request.method(), Method::GET | Method::HEAD);
    if sends || headers.contains_key(header::UPGRADE) {
        if service.gate.is_draining() {
            return Err(service::draining());
        }
        if sends {
            check_content_type(headers, Dialect::of(&path))?;
        }
        caller.take()?;
    }
    request.extensions_mut().insert(caller);
    Ok(None)
}

fn switched_off(path: &str) -> Problem {
    match path {
        "/api/v0/code-exec" => {
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "edx", "Codejail service not enabled")
        }
        _ => Problem::new(StatusCode::NOT_FOUND, "not-found", "this interface is switched off here"),
    }
}

/// A name that somebody else's DNS gave our address is not ours: a web page could use it.
fn check_host(
    headers: &HeaderMap,
    in_uri: Option<&str>,
    local: IpAddr,
    setup: &Setup,
) -> Result<(), Problem> {
    let refused = |status, detail: String| {
        let hint = "name the hosts this service is called by in `hosts` of its configuration";
        Err(Problem::new(status, "host", detail).with_hint(Some(hint.into())))
    };
    let text = headers.get(header::HOST).and_then(|value| value.to_str().ok()).or(in_uri);
    let Some(text) = text else {
        return refused(StatusCode::BAD_REQUEST, "the request has no `Host`".into());
    };
    let host = without_port(text);
    let address: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    let ours = host.eq_ignore_ascii_case("localhost")
        || address.is_some_and(|address| address == local || address.is_loopback())
        || setup.config.hosts.iter().any(|name| name.eq_ignore_ascii_case(host));
    // Away from loopback a key is needed, which no web page has.
    if ours || (!local.is_loopback() && setup.config.hosts.is_empty()) {
        return Ok(());
    }
    refused(StatusCode::MISDIRECTED_REQUEST, format!("`{}` is no name of this service", host.escape_debug()))
}

fn without_port(text: &str) -> &str {
    match text.rsplit_once(':') {
        Some((host, port)) if port.chars().all(|c| c.is_ascii_digit()) && !host.ends_with(':') => host,
        _ => text,
    }
}

/// A web page says where it comes from; only our own and listed ones get in.
fn check_origin(headers: &HeaderMap, setup: &Setup) -> Result<(), Problem> {
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let host = headers.get(header::HOST).and_then(|value| value.to_str().ok());
    let authority = origin.to_str().ok().and_then(|text| text.split_once("://")).map(|(_, rest)| rest);
    if listed(setup, origin) || (authority.is_some() && authority == host) {
        return Ok(());
    }
    let hint = "list the pages that may call in `origins` of the configuration";
    let problem =
        Problem::new(StatusCode::FORBIDDEN, "origin", "pages of this origin may not call this service");
    Err(problem.with_hint(Some(hint.into())))
}

fn listed(setup: &Setup, origin: &HeaderValue) -> bool {
    setup.config.origins.iter().any(|listed| listed.as_bytes() == origin.as_bytes())
}

/// What a page of a listed origin asks first.
fn preflight(headers: &HeaderMap, path: &str) -> Option<Response<Body>> {
    if !headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) {
        if path != "/eval" {
            return None;
        }
        let mut response = Response::new(Body::empty());
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
        return Some(response);
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let more = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "authorization, content-type, idempotency-key, x-request-id"),
        (header::ACCESS_CONTROL_MAX_AGE, "600"),
    ];
    response.headers_mut().extend(more.map(|(name, value)| (name, HeaderValue::from_static(value))));
    Some(response)
}

/// A page can send text and forms to anybody without asking; JSON it cannot. Forms are taken by the origin they
/// come from alone, which is checked before.
fn check_content_type(headers: &HeaderMap, dialect: Dialect) -> Result<(), Problem> {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let coding =
        headers.get(header::CONTENT_ENCODING).map(|coding| String::from_utf8_lossy(coding.as_bytes()));
    if let Some(coding) = coding.filter(|coding| !coding.eq_ignore_ascii_case("identity")) {
        let detail = format!("bodies come as they are, not as `{}`", coding.escape_debug());
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content-encoding", detail));
    }
    let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let taken: &[&str] = match dialect {
        Dialect::Native => &["application/json", "multipart/form-data"],
        Dialect::Snekbox | Dialect::Piston => &["application/json"],
        Dialect::Edx => &["multipart/form-data", "application/x-www-form-urlencoded"],
    };
    if taken.contains(&essence.as_str()) {
        return Ok(());
    }
    let detail = match dialect {
        Dialect::Native => {
            format!("`{}` is neither application/json nor multipart/form-data", essence.escape_debug())
        }
        Dialect::Edx => format!("Unsupported media type \"{}\" in request.", essence.escape_debug()),
        Dialect::Snekbox => format!("{essence} is an unsupported media type."),
        Dialect::Piston => "requests must be of type application/json".into(),
    };
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", detail))
}

fn finish(response: &mut Response<Body>, id: &HeaderValue, origin: Option<HeaderValue>) {
    let headers = response.headers_mut();
    headers.insert(request_id::HEADER, id.clone());
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::VARY, HeaderValue::from_static("origin"));
    }
}

fn shown(path: &str) -> String {
    path.chars().take(100).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_cut_off_a_host_and_nothing_else() {
        for (text, host) in [
            ("localhost:8060", "localhost"),
            ("localhost", "localhost"),
            ("127.0.0.1:80", "127.0.0.1"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
        ] {
            assert_eq!(without_port(text), host, "{text}");
        }
    }
}
