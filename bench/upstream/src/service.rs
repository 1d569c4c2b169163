//! From a request to its answer.

use std::io;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::Incoming;
use serde_json::{Value, json};

use crate::ask::Ask;
use crate::book::Book;
use crate::control;
use crate::embeddings;
use crate::fake::Options;
use crate::ledger::{Entry, Ledger, Outcome, Record};
use crate::play::{Player, Start};
use crate::script::{Content, Script};
use crate::surface::{self, Api, Setting};
use crate::talk;
use crate::wire::Connection;

pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Longest request body read.
const MAX_BODY: usize = 128 * 1024 * 1024;

pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) book: Book,
    pub(crate) ledger: Ledger,
}

/// `Err` closes the connection (h2: resets the stream) without an answer.
pub(crate) async fn answer(
    shared: Arc<Shared>,
    connection: Arc<Connection>,
    request: Request<Incoming>,
) -> io::Result<Response<Body>> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    if control::is_control(path) {
        let body = read(body).await?;
        return Ok(control::answer(&shared, &parts.method, path, &body));
    }
    let mut record = enter(&shared, &connection, &parts);
    let body = read(body).await?;
    let ask = match Ask::read(if body.is_empty() { b"{}" } else { &body }) {
        Ok(ask) => ask,
        Err(error) => {
            record.read(body.clone(), "", None, 400);
            record.end(Outcome::Served);
            let message = format!("We could not parse the JSON body of your request: {error}");
            return Ok(json_answer(400, &surface::error_body(Api::of_path(path), 400, &message)));
        }
    };
    // Azure has the model in the path.
    let deployment = path.strip_prefix("/openai/deployments/").and_then(|rest| rest.split('/').next());
    let model = deployment.filter(|_| ask.model.is_empty()).unwrap_or(&ask.model).to_owned();
    let named = parts.headers.get("x-fake").and_then(|value| value.to_str().ok());
    let keys = named.into_iter().chain([model.as_str(), path]);
    // Probes ask for /health: `*` is about real requests.
    let keys = keys.chain((path != "/health").then_some("*"));
    let (key, script) = match shared.book.pick(keys) {
        Some((key, script)) => (Some(key.to_owned()), script),
        None => (None, Arc::new(unscripted(&shared.options, &parts, &ask))),
    };
    record.read(body.clone(), &model, key.as_deref(), script.status);
    let api = Api::of_path(path);
    let setting = Setting::of(&ask, record.id, now());
    let gate = shared.book.gate(key.as_deref().unwrap_or_default());
    let input_tokens = setting.input_tokens;
    let surface = surface::new(api.unwrap_or(Api::Chat), setting);
    let player = Player::new(script, surface, ask.streams(), input_tokens, gate, record, connection);
    play(player, ask.streams(), api).await
}

async fn play(mut player: Player, streaming: bool, api: Option<Api>) -> io::Result<Response<Body>> {
    let whole = match &player.script().content {
        Content::Steps(_) => match player.start().await? {
            Start::Flowing => {
                let kind = if streaming { "text/event-stream; charset=utf-8" } else { "application/json" };
                let mut response = head(player.script(), kind);
                if streaming {
                    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
                }
                return Ok(response.map(|()| flowing(player)));
            }
            Start::Whole(body) => body,
        },
        Content::Json(value) => value.to_string().into(),
        Content::Raw(text) => text.clone().into(),
        Content::Error(message) => {
            surface::error_body(api, player.script().status, message).to_string().into()
        }
    };
    if let (Content::Json(_), Some(tokens)) = (&player.script().content, player.script().tokens) {
        player.record().report(tokens);
    }
    let response = head(player.script(), "application/json");
    if player.script().cut.is_none() {
        let record = player.record();
        record.said.bytes = whole.len() as u64;
        record.end(Outcome::Served);
        return Ok(response.map(|()| full(whole)));
    }
    let mut response = response;
    response.headers_mut().insert(CONTENT_LENGTH, whole.len().into());
    player.replace(whole);
    Ok(response.map(|()| flowing(player)))
}

/// The answer to a request that no script is for.
fn unscripted(options: &Options, parts: &http::request::Parts, ask: &Ask<'_>) -> Script {
    let path = parts.uri.path();
    if path == "/health" {
        return Script::json(200, json!({"status": "ok"}));
    }
    if options.key.as_deref().is_some_and(|key| !shows_key(&parts.headers, key)) {
        return Script::error(401, "Incorrect API key provided.");
    }
    if parts.method == Method::GET && path == "/v1/models" {
        let models = options
            .models
            .iter()
            .map(|name| json!({"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "fake"}));
        return Script::json(200, json!({"object": "list", "data": models.collect::<Vec<_>>()}));
    }
    match Api::of_path(path) {
        None => Script::error(404, format!("Unknown request URL: {} {path}.", parts.method)),
        Some(_) if parts.method != Method::POST => Script::error(405, "Use POST here."),
        Some(_) if ask.model.starts_with("script:") => {
            Script::error(404, format!("No script is registered for the model `{}`.", ask.model))
        }
        Some(Api::Embeddings) => {
            let (body, tokens) = embeddings::answer(ask);
            Script { tokens: Some(tokens), ..Script::json(200, body) }
        }
        Some(Api::CountTokens) => Script::json(200, json!({"input_tokens": ask.input_tokens()})),
        Some(api) => talk::script(api, ask),
    }
}

fn shows_key(headers: &HeaderMap, key: &str) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    text("authorization").and_then(|value| value.strip_prefix("Bearer ")) == Some(key)
        || text("x-api-key") == Some(key)
        || text("api-key") == Some(key)
}

fn enter(shared: &Shared, connection: &Connection, parts: &http::request::Parts) -> Record {
    let keeps = shared.ledger.keeps_entries();
    let headers = parts.headers.iter().filter(|_| keeps).map(|(name, value)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    });
    shared.ledger.enter(Entry {
        id: 0,
        at: SystemTime::now(),
        connection: connection.id,
        version: format!("{:?}", parts.version),
        method: parts.method.to_string(),
        path: parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        headers: headers.collect(),
        body: Bytes::new(),
        model: String::new(),
        script: None,
        status: 0,
        pieces: 0,
        bytes: 0,
        reported: None,
        outcome: Outcome::Open,
        took: None,
        ended: None,
    })
}

async fn read(body: Incoming) -> io::Result<Bytes> {
    Limited::new(body, MAX_BODY)
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes)
        .map_err(io::Error::other)
}

/// Status and headers; a script's own headers replace those that the form brings.
fn head(script: &Script, content_type: &'static str) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() =
        http::StatusCode::from_u16(script.status).unwrap_or(http::StatusCode::IM_A_TEAPOT);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert("x-request-id", HeaderValue::from_static("req_fake"));
    for (name, value) in &script.headers {
        // Names and values that HTTP does not allow cannot be sent through hyper: left out.
        if let (Ok(name), Ok(value)) =
            (HeaderName::try_from(name.as_str()), HeaderValue::try_from(value.as_str()))
        {
            headers.insert(name, value);
        }
    }
    response
}

fn flowing(player: Player) -> Body {
    let pieces = futures::stream::unfold(player, |mut player| async move {
        let piece = player.next().await?;
        Some((piece, player))
    });
    UnsyncBoxBody::new(StreamBody::new(pieces))
}

pub(crate) fn full(body: Bytes) -> Body {
    UnsyncBoxBody::new(Full::new(body).map_err(|never| match never {}))
}

pub(crate) fn json_answer(status: u16, body: &Value) -> Response<Body> {
    head(&Script { status, ..Script::default() }, "application/json").map(|()| full(body.to_string().into()))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
