//! Answers that need no upstream: health, the model list, CORS preflights.

use http::{StatusCode, header};
use pingora_proxy::Session;
use serde_json::json;
use tollgate_filters::identity::Caller;
use tollgate_filters::verdict::{Code, ErrorForm, Rejection};

use super::answer_head::AnswerHead;
use super::ctx::Exchange;
use super::errors::Stop;
use super::intake::{Next, answer};

/// The process is alive.
pub(super) async fn health(session: &mut Session, exchange: &mut Exchange) -> Result<Next, Stop> {
    exchange.facts.audited = false;
    answer(session, exchange, 200, br#"{"status":"ok"}"#.to_vec()).await
}

/// What a load balancer asks: 503 while starting, stopping, or when something that policy needs has failed.
pub(super) async fn health_ready(session: &mut Session, exchange: &mut Exchange) -> Result<Next, Stop> {
    exchange.facts.audited = false;
    let readiness = exchange.live.readiness(&exchange.runtime);
    let mut body = json!({"status": if readiness.ready { "ok" } else { "degraded" }});
    if exchange.runtime.config.admin.show_checks {
        body["checks"] =
            readiness.checks.iter().map(|(name, state)| ((*name).to_owned(), json!(state))).collect();
    }
    let status = if readiness.ready { 200 } else { 503 };
    answer(session, exchange, status, body.to_string().into_bytes()).await
}

pub(super) async fn ready(session: &mut Session, exchange: &mut Exchange) -> Result<Next, Stop> {
    exchange.facts.audited = false;
    let (status, word) =
        if exchange.live.readiness(&exchange.runtime).ready { (200, "ok") } else { (503, "not ready") };
    answer(session, exchange, status, json!({"status": word}).to_string().into_bytes()).await
}

pub(super) async fn startup(session: &mut Session, exchange: &mut Exchange) -> Result<Next, Stop> {
    exchange.facts.audited = false;
    let (status, word) = if exchange.live.lifecycle.is_started() { (200, "ok") } else { (503, "starting") };
    answer(session, exchange, status, json!({"status": word}).to_string().into_bytes()).await
}

/// A CORS preflight: no body, no credential asked.
pub(super) async fn preflight(
    session: &mut Session,
    exchange: &mut Exchange,
    status: StatusCode,
) -> Result<Next, Stop> {
    exchange.facts.audited = false;
    let mut head = AnswerHead::new(status);
    head.set_number(header::CONTENT_LENGTH, 0);
    exchange.decorate(&mut head);
    exchange.facts.event.http_status = status.as_u16();
    exchange.facts.event.status = tollgate_filters::audit::Status::Success;
    session.write_response_header(head.into(), true).await?;
    Ok(Next::Answered)
}

/// The models that this caller may use, in the surface's form: Anthropic's for clients that send `anthropic-version`.
pub(super) async fn models(
    session: &mut Session,
    exchange: &mut Exchange,
    caller: &Caller,
    one: Option<&str>,
) -> Result<Next, Stop> {
    if session.req_header().headers.contains_key("anthropic-version") {
        exchange.form = ErrorForm::Anthropic;
    }
    let body = match one {
        None => {
            let names = usable(exchange, caller);
            list(exchange.form, &names)
        }
        Some(name) => {
            exchange.runtime.model_for(caller, name).map_err(|rejection| match rejection.code {
                // What one may not use is not shown to exist.
                Code::ModelNotAllowed => Rejection { code: Code::ModelNotFound, ..rejection },
                _ => rejection,
            })?;
            entry(exchange.form, name)
        }
    };
    answer(session, exchange, 200, body.to_string().into_bytes()).await
}

fn usable(exchange: &Exchange, caller: &Caller) -> Vec<String> {
    let runtime = &exchange.runtime;
    let mut names: Vec<String> = runtime
        .config
        .models
        .iter()
        .filter(|model| &*model.name != "*" && runtime.may_use(caller, &model.name))
        .map(|model| model.name.to_string())
        .collect();
    // A wildcard passes any name on; what its hosts offer is known from their probes.
    if runtime.model("*").is_some() {
        let offered = exchange.live.offered.names();
        names.extend(offered.into_iter().filter(|name| runtime.may_use(caller, name)));
    }
    names.sort();
    names.dedup();
    names
}

fn entry(form: ErrorForm, name: &str) -> serde_json::Value {
    match form {
        ErrorForm::OpenAi => json!({"id": name, "object": "model", "created": 0, "owned_by": "tollgate"}),
        ErrorForm::Anthropic => {
            json!({"type": "model", "id": name, "display_name": name, "created_at": "1970-01-01T00:00:00Z"})
        }
    }
}

fn list(form: ErrorForm, names: &[String]) -> serde_json::Value {
    let data: Vec<_> = names.iter().map(|name| entry(form, name)).collect();
    match form {
        ErrorForm::OpenAi => json!({"object": "list", "data": data}),
        ErrorForm::Anthropic => json!({
            "data": data, "has_more": false, "first_id": names.first(), "last_id": names.last(),
        }),
    }
}
