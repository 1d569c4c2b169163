//! Scripts, gates and the ledger over HTTP, for tests that are not written in Rust.
//!
//! - `POST /script` `{"key": "m", "script": {…}}` or `{"key": "m", "scripts": [{…}, {…}]}` (the last one repeats; none: forgets the key)
//! - `POST /gate` `{"key": "m", "open": 2}` (the first two gates are open), or `{"key": "m", "shut": true}`
//! - `GET /ledger` `{"totals": {…}, "entries": […]}`; `DELETE /ledger` forgets

use http::{Method, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::ledger::Entry;
use crate::script::Script;
use crate::service::{Body, Shared, json_answer};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScriptOrder {
    key: String,
    #[serde(default)]
    script: Option<Script>,
    #[serde(default)]
    scripts: Vec<Script>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GateOrder {
    key: String,
    #[serde(default)]
    open: Option<u64>,
    #[serde(default)]
    shut: bool,
}

pub(crate) fn is_control(path: &str) -> bool {
    matches!(path, "/script" | "/gate" | "/ledger")
}

pub(crate) fn answer(shared: &Shared, method: &Method, path: &str, body: &[u8]) -> Response<Body> {
    let done = match (method.as_str(), path) {
        ("POST", "/script") => serde_json::from_slice(body).map(|order: ScriptOrder| {
            let scripts = order.script.into_iter().chain(order.scripts).collect();
            shared.book.write(&order.key, scripts);
            json!({})
        }),
        ("POST", "/gate") => serde_json::from_slice(body).map(|order: GateOrder| {
            let gate = shared.book.gate(&order.key);
            if order.shut {
                gate.shut();
            }
            if let Some(k) = order.open {
                gate.open(k);
            }
            json!({})
        }),
        ("GET", "/ledger") => {
            let entries: Vec<Value> = shared.ledger.entries().iter().map(entry).collect();
            Ok(json!({"totals": shared.ledger.totals(), "entries": entries}))
        }
        ("DELETE", "/ledger") => {
            shared.ledger.clear();
            Ok(json!({}))
        }
        _ => return json_answer(405, &json!({"error": "see the module control.rs for what there is"})),
    };
    match done {
        Ok(body) => json_answer(200, &body),
        Err(error) => json_answer(400, &json!({"error": error.to_string()})),
    }
}

fn entry(entry: &Entry) -> Value {
    let headers: serde_json::Map<String, Value> =
        entry.headers.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
    json!({
        "id": entry.id, "connection": entry.connection, "version": entry.version, "method": entry.method,
        "path": entry.path, "headers": headers, "body": String::from_utf8_lossy(&entry.body),
        "model": entry.model, "script": entry.script, "status": entry.status, "pieces": entry.pieces,
        "bytes": entry.bytes, "reported": entry.reported, "outcome": entry.outcome,
        "took_ms": entry.took.map(|took| took.as_secs_f64() * 1000.0),
    })
}
