//! The description of the interface, made from its types, and a page that shows it.

use crate::v1::request::RunRequest;
use axum::body::Body;
use axum::http::{HeaderValue, Response, header};
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};
use std::sync::LazyLock;
use wardian::report::Report;

/// It never changes, and making it takes longer than anything else that is served without a key.
static DOCUMENT: LazyLock<String> = LazyLock::new(|| openapi().to_string());

pub(crate) async fn document() -> Response<Body> {
    asset(&DOCUMENT, "application/json")
}

/// The page: it loads nothing but this service's own script and description.
pub(crate) async fn page() -> Response<Body> {
    asset(include_str!("page.html"), "text/html; charset=utf-8")
}

pub(crate) async fn script() -> Response<Body> {
    asset(include_str!("page.js"), "text/javascript; charset=utf-8")
}

fn asset(text: &'static str, media_type: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    let policy = "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; connect-src 'self'; \
                  frame-ancestors 'none'; base-uri 'none'; form-action 'none'";
    response.headers_mut().extend([
        (header::CONTENT_TYPE, HeaderValue::from_static(media_type)),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy)),
    ]);
    response
}

/// OpenAPI 3.1, whose schemas are JSON Schema 2020-12.
pub(crate) fn openapi() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = SchemaGenerator::new(settings);
    let request = generator.subschema_for::<RunRequest>();
    let report = generator.subschema_for::<Report>();
    let mut schemas = generator.take_definitions(true);
    schemas.insert("Problem".into(), problem_schema());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "wardian",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Runs untrusted Python contained, within exact limits, and reports what it did.",
        },
        "security": [{}, { "key": [] }, { "password": [] }],
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "key": { "type": "http", "scheme": "bearer" },
                "password": { "type": "http", "scheme": "basic", "description": "the key is the password" },
            },
        },
        "paths": {
            "/v1/run": { "post": run_operation(&request, &report) },
            "/v1/run/stream": { "post": stream_operation(&request) },
            "/v1/run/ws": { "get": {
                "summary": "Run a program with interactive input, over a WebSocket",
                "description": "The first message is the request of /v1/run. Then: {\"type\":\"stdin\",\"text\"|\"base64\"}, \
                    {\"type\":\"eof\"}, {\"type\":\"signal\",\"signal\":\"SIGINT\"}, {\"type\":\"close\",\"stream\":\"stdout\"}. Answers: {\"type\":\"started\"}, {\"type\":\"stdout\"|\"stderr\", \
                    \"text\"|\"base64\"}, at last {\"type\":\"report\",\"report\"} or {\"type\":\"problem\",\"problem\"}.",
                "responses": { "101": { "description": "the conversation begins" }, "default": problem_response() },
            } },
            "/v1/environments": plain("Interpreters and policies to choose from, with the ceilings of limits"),
            "/healthz": plain("This process answers"),
            "/readyz": plain("A real sandbox refuses a file outside, a socket, a second process"),
            "/metrics": plain("Figures for Prometheus"),
            "/eval": { "post": dialect("Run a program as snekbox does", &["title", "description"]) },
            "/api/v0/code-exec": { "post": {
                "summary": "Run a problem's code as Open edX's codejail-service does",
                "requestBody": { "required": true, "content": { "multipart/form-data": { "schema": {
                    "type": "object",
                    "properties": { "payload": { "type": "string" } },
                    "required": ["payload"],
                } } } },
                "responses": {
                    "200": { "description": "globals_dict, and emsg if the code failed" },
                    "default": error_response(&["error"]),
                },
            } },
            "/health/": plain("As /readyz, in codejail-service's words"),
            "/api/v2/runtimes": plain("Interpreters as Piston lists them; all of /api/v2 is below /api/v2/piston too"),
            "/api/v2/packages": plain("Interpreters as Piston lists packages; nothing is installed through HTTP"),
            "/api/v2/execute": { "post": dialect("Run a program as Piston does", &["message"]) },
            "/api/v2/connect": { "get": {
                "summary": "Run a program with interactive input as Piston does, over a WebSocket",
                "responses": {
                    "101": { "description": "the conversation begins" },
                    "default": error_response(&["message"]),
                },
            } },
        },
    })
}

fn run_operation(request: &schemars::Schema, report: &schemars::Schema) -> Value {
    let file = json!({ "type": "string", "contentMediaType": "application/octet-stream" });
    json!({
        "summary": "Run a program and wait for its report",
        "parameters": [{
            "name": "Idempotency-Key", "in": "header", "schema": { "type": "string", "maxLength": 255 },
            "description": "sent again with the same body, the first answer comes again, for ten minutes",
        }],
        "requestBody": { "required": true, "content": {
            "application/json": { "schema": request },
            "multipart/form-data": { "schema": {
                "type": "object", "properties": { "request": request }, "additionalProperties": file,
            } },
        } },
        "responses": {
            "200": {
                "description": "the report, whatever the program did",
                "content": { "application/json": { "schema": report } },
            },
            "default": problem_response(),
        },
    })
}

fn stream_operation(request: &schemars::Schema) -> Value {
    json!({
        "summary": "Run a program and watch its output",
        "requestBody": { "required": true, "content": { "application/json": { "schema": request } } },
        "responses": {
            "200": {
                "description": "events stdout and stderr with {\"text\"} or {\"base64\"}; at last report or problem",
                "content": { "text/event-stream": { "schema": { "type": "string" } } },
            },
            "default": problem_response(),
        },
    })
}

fn problem_response() -> Value {
    let schema = json!({ "$ref": "#/components/schemas/Problem" });
    json!({
        "description": "the request cannot be served",
        "content": { "application/problem+json": { "schema": schema } },
    })
}

fn plain(summary: &str) -> Value {
    let responses = json!({ "200": { "description": "the answer" }, "default": problem_response() });
    json!({ "get": { "summary": summary, "responses": responses } })
}

/// An operation of another system, whose errors have these texts.
fn dialect(summary: &str, error: &[&str]) -> Value {
    let any = json!({ "application/json": { "schema": { "type": "object" } } });
    json!({
        "summary": summary,
        "requestBody": { "required": true, "content": any },
        "responses": { "200": { "description": "its result", "content": any }, "default": error_response(error) },
    })
}

fn error_response(texts: &[&str]) -> Value {
    let properties: Map<String, Value> =
        texts.iter().map(|text| ((*text).to_owned(), json!({ "type": "string" }))).collect();
    let schema = json!({ "type": "object", "required": texts, "properties": properties });
    json!({
        "description": "the request cannot be served",
        "content": { "application/json": { "schema": schema } },
    })
}

fn problem_schema() -> Value {
    let text = |description: &str| json!({ "type": "string", "description": description });
    json!({
        "type": "object",
        "description": "RFC 9457",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": text("a stable name"),
            "title": text("the status in words"),
            "status": { "type": "integer" },
            "detail": text("one sentence for a person"),
            "field": text("the field of the body that is wrong"),
            "hint": text("what to do about it"),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(object) => {
                if let Some(Value::String(text)) = object.get("$ref") {
                    found.push(text.clone());
                }
                object.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = openapi();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 10, "{found:?}");
        for reference in found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }
}
