//! Health and metrics.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde_json::{Map, Value, json};

use crate::plane::Plane;

type Shared = State<Arc<dyn Plane>>;

/// The process is alive.
pub(crate) async fn health() -> Response {
    Json(json!({"status": "ok"})).into_response()
}

/// Whether requests are welcome, with the state of each dependency.
pub(crate) async fn ready(State(plane): Shared) -> Response {
    let health = plane.health();
    let checks: Map<String, Value> =
        health.checks.into_iter().map(|check| (check.name, json!(check.state))).collect();
    let (status, word) =
        if health.ready { (StatusCode::OK, "ok") } else { (StatusCode::SERVICE_UNAVAILABLE, "degraded") };
    (status, Json(json!({"status": word, "checks": checks}))).into_response()
}

pub(crate) async fn startup(State(plane): Shared) -> Response {
    let (status, word) = if plane.health().started {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "starting")
    };
    (status, Json(json!({"status": word}))).into_response()
}

/// Prometheus' text format, version 0.0.4.
pub(crate) async fn metrics(State(plane): Shared) -> Response {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], plane.metrics()).into_response()
}
