//! `GET /v1/environments`: what requests choose from.

use crate::auth::Caller;
use crate::service::Service;
use axum::Extension;
use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use std::sync::Arc;

pub(crate) async fn environments(
    State(service): State<Arc<Service>>,
    Extension(caller): Extension<Arc<Caller>>,
) -> Json<Value> {
    let setup = service.setup();
    let environments: Vec<Value> = setup
        .environments
        .iter()
        .map(|environment| {
            json!({
                "name": environment.config.name,
                "id": environment.interpreter.id(),
                "python": environment.interpreter.version,
                "preload": environment.config.preload,
                "starts": setup.policies.first().map(|policy| environment.starts(policy)),
            })
        })
        .collect();
    let policies: Vec<Value> = setup
        .policies
        .iter()
        .map(|policy| {
            json!({
                "name": policy.name,
                "description": policy.description,
                "ceilings": setup.ceilings(policy, caller.ceilings),
            })
        })
        .collect();
    Json(json!({ "environments": environments, "policies": policies }))
}
