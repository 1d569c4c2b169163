//! The admin API. The gate has seen the token; writes are logged with who made them.

use std::fmt;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use http::StatusCode;
use serde_json::json;
use tollgate_filters::verdict::{Code, Rejection};

use crate::gate::{Peer, refuse};
use crate::plane::{DrainError, Plane};

type Shared = State<Arc<dyn Plane>>;

pub(crate) async fn config(State(plane): Shared) -> Response {
    Json(plane.config()).into_response()
}

/// 200 with the new state, or 422 with every mistake; then the old configuration is still in force.
pub(crate) async fn reload(State(plane): Shared, Extension(peer): Extension<Peer>) -> Response {
    match plane.reload().await {
        Ok(status) => {
            tracing::info!(who = %Who(peer), generation = status.generation, "admin: configuration reloaded");
            Json(status).into_response()
        }
        Err(failure) => {
            tracing::warn!(who = %Who(peer), error = %failure.message, "admin: reload refused");
            let body = json!({"error": failure, "config": plane.config()});
            (StatusCode::UNPROCESSABLE_ENTITY, Json(body)).into_response()
        }
    }
}

pub(crate) async fn upstreams(State(plane): Shared) -> Response {
    Json(json!({"upstreams": plane.upstreams()})).into_response()
}

pub(crate) async fn issuers(State(plane): Shared) -> Response {
    Json(json!({"issuers": plane.issuers()})).into_response()
}

pub(crate) async fn drain(plane: Shared, peer: Extension<Peer>, target: Path<String>) -> Response {
    set_drained(plane, peer, target, true).await
}

pub(crate) async fn undrain(plane: Shared, peer: Extension<Peer>, target: Path<String>) -> Response {
    set_drained(plane, peer, target, false).await
}

async fn set_drained(
    State(plane): Shared,
    Extension(peer): Extension<Peer>,
    Path(target): Path<String>,
    drained: bool,
) -> Response {
    let result = plane.drain(&target, drained).await;
    tracing::info!(who = %Who(peer), target_id = %target, drained, ok = result.is_ok(), "admin: drain");
    let refusal = match result {
        Ok(()) => {
            let now = plane.upstreams().into_iter().find(|upstream| upstream.name == target);
            return Json(json!({"upstream": now})).into_response();
        }
        Err(DrainError::Unknown) => Rejection::new(
            Code::NotFound,
            "There is no such target. GET /admin/upstreams lists their names; write '/' in a name as %2F.",
        ),
        Err(DrainError::ByConfig) => Rejection::new(
            Code::InvalidRequest,
            "The configuration drains this target. Change it there and reload.",
        ),
        Err(DrainError::NotKept(why)) => {
            tracing::error!(%target, error = %why, "a drain could not be kept");
            let body = json!({"error": {
                "message": "The drain could not be written to the state directory, so nothing was changed. The log says why.",
                "type": "server_error", "param": null, "code": "STATE_NOT_WRITTEN",
            }});
            return (StatusCode::INTERNAL_SERVER_ERROR, Json(body)).into_response();
        }
    };
    refuse(&refusal)
}

/// Holder of the one admin token, at an address; with a client certificate, its fingerprint.
struct Who(Peer);

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "admin token from {}", self.0.remote)?;
        if let Some(certificate) = self.0.certificate {
            f.write_str(" with certificate ")?;
            certificate.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        }
        Ok(())
    }
}
