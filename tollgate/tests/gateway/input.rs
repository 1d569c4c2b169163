//! Bad input: what was tried and what it got. docs/bad-input.md is this table in words.

use std::time::Duration;

use http_body_util::StreamBody;
use hyper::body::Frame;
use tollgate_fake_upstream::Fake;

use crate::harness::{Gateway, ONE_UPSTREAM, in_front_of_fake};
use crate::wire::{Reply, Wire, chunks, head, last_call, post};

const CHAT: &str = "/v1/chat/completions";
const GOOD: &str = r#"{"model":"m","messages":[{"role":"user","content":"Hi"}]}"#;

/// Requests that were passed on (probes and model lists are GETs).
fn passed_on(fake: &Fake) -> usize {
    fake.ledger().entries().iter().filter(|entry| entry.method == "POST").count()
}

fn ask(gateway: &Gateway, request: &[u8]) -> Option<Reply> {
    let mut wire = Wire::open(gateway.listen);
    wire.send(request);
    wire.reply()
}

/// The process lives and serves: the same pid answers a good request.
fn assert_serves(gateway: &Gateway, after: &str) {
    let reply = ask(gateway, &post(CHAT, GOOD)).unwrap_or_else(|| panic!("no answer after {after}"));
    assert_eq!(reply.status, 200, "after {after}");
}

#[test]
fn bodies_that_are_not_a_call() {
    let (fake, gateway) = in_front_of_fake(ONE_UPSTREAM);
    let with =
        |field: &str| format!(r#"{{"model":"m","messages":[{{"role":"user","content":"Hi"}}],{field}}}"#);
    let says =
        |content: &str| format!(r#"{{"model":"m","messages":[{{"role":"user","content":{content}}}]}}"#);
    let deep = |depth: usize| with(&format!(r#""x":{}{}"#, "[".repeat(depth), "]".repeat(depth)));
    let holds = |bytes: &[u8]| {
        let (before, after) = GOOD.split_once("Hi").expect("is in it");
        [before.as_bytes(), bytes, after.as_bytes()].concat()
    };
    let bytes = |text: &str| text.as_bytes().to_vec();
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("no body", vec![], "INVALID_JSON"),
        ("cut JSON", bytes(r#"{"model":"m","messages":[{"role":"user""#), "INVALID_JSON"),
        ("not JSON", bytes("model=m&messages=Hi"), "INVALID_JSON"),
        ("a comment in JSON", bytes("{/**/\"model\":\"m\"}"), "INVALID_JSON"),
        ("a trailing comma", with("").into_bytes(), "INVALID_JSON"),
        ("trailing bytes", format!("{GOOD} {GOOD}").into_bytes(), "INVALID_JSON"),
        ("a byte order mark", [b"\xef\xbb\xbf", GOOD.as_bytes()].concat(), "INVALID_JSON"),
        ("UTF-16", GOOD.encode_utf16().flat_map(u16::to_le_bytes).collect(), "INVALID_JSON"),
        ("invalid UTF-8", holds(b"\xff\xfe"), "INVALID_JSON"),
        ("overlong UTF-8", holds(b"\xc0\xaf"), "INVALID_JSON"),
        ("a lone high surrogate", says(r#""\ud800""#).into_bytes(), "INVALID_JSON"),
        ("a lone low surrogate", says(r#""\udc00 x""#).into_bytes(), "INVALID_JSON"),
        ("a raw control character", says("\"a\nb\"").into_bytes(), "INVALID_JSON"),
        ("an unknown escape", says(r#""\x41""#).into_bytes(), "INVALID_JSON"),
        ("nesting of 129", deep(129).into_bytes(), "INVALID_JSON"),
        ("nesting of 100,000", deep(100_000).into_bytes(), "INVALID_JSON"),
        (
            "an unclosed nesting of 1,000,000",
            format!("{{\"x\":{}", "[".repeat(1_000_000)).into_bytes(),
            "INVALID_JSON",
        ),
        ("model twice", with(r#""model":"n""#).into_bytes(), "INVALID_JSON"),
        ("model twice, once escaped", with(r#""mod\u0065l":"n""#).into_bytes(), "INVALID_JSON"),
        ("stream twice", with(r#""stream":false,"stream":true"#).into_bytes(), "INVALID_JSON"),
        (
            "content twice",
            bytes(r#"{"model":"m","messages":[{"role":"user","content":"a","content":"b"}]}"#),
            "INVALID_JSON",
        ),
        ("a number like 01", with(r#""seed":01"#).into_bytes(), "INVALID_JSON"),
        ("NaN", with(r#""temperature":NaN"#).into_bytes(), "INVALID_JSON"),
        ("an array", bytes("[]"), "INVALID_REQUEST"),
        ("null", bytes("null"), "INVALID_REQUEST"),
        ("an empty object", bytes("{}"), "INVALID_REQUEST"),
        ("no messages", bytes(r#"{"model":"m"}"#), "INVALID_REQUEST"),
        ("no model", bytes(r#"{"messages":[{"role":"user","content":"Hi"}]}"#), "INVALID_REQUEST"),
        ("model null", bytes(r#"{"model":null,"messages":[]}"#), "INVALID_REQUEST"),
        ("model 7", bytes(r#"{"model":7,"messages":[]}"#), "INVALID_REQUEST"),
        ("model empty", bytes(r#"{"model":"","messages":[]}"#), "INVALID_REQUEST"),
        ("messages a text", bytes(r#"{"model":"m","messages":"Hi"}"#), "INVALID_REQUEST"),
        ("a message that is a text", bytes(r#"{"model":"m","messages":["Hi"]}"#), "INVALID_REQUEST"),
        ("content 7", says("7").into_bytes(), "INVALID_REQUEST"),
        ("content an object", says(r#"{"text":"Hi"}"#).into_bytes(), "INVALID_REQUEST"),
        ("stream a text", with(r#""stream":"yes""#).into_bytes(), "INVALID_REQUEST"),
        (
            "max_tokens of 40 digits",
            with(&format!(r#""max_tokens":{}"#, "9".repeat(40))).into_bytes(),
            "INVALID_REQUEST",
        ),
        ("max_tokens negative", with(r#""max_tokens":-1"#).into_bytes(), "INVALID_REQUEST"),
        ("n of 1e9", with(r#""n":1000000000"#).into_bytes(), "INVALID_REQUEST"),
    ];
    for (name, body, code) in &cases {
        let reply = ask(&gateway, &post(CHAT, body)).unwrap_or_else(|| panic!("{name}: no answer"));
        assert_eq!((reply.status, reply.code().as_deref()), (400, Some(*code)), "{name}: {}", reply.json());
        assert_eq!(reply.header("x-should-retry"), Some("false"), "{name}");
        assert_eq!(reply.json()["error"]["type"], "invalid_request_error", "{name}");
        assert!(reply.json()["request_id"].is_string(), "{name}");
    }
    assert_eq!(passed_on(&fake), 0);
    assert_serves(&gateway, "all of it");
    let events = gateway.events(cases.len() + 1);
    assert_eq!(events.len(), cases.len() + 1, "one event per request");
}

/// Odd, but valid: passed on byte for byte.
#[test]
fn odd_bodies_that_are_calls() {
    let (fake, gateway) = in_front_of_fake(ONE_UPSTREAM);
    let with =
        |field: &str| format!(r#"{{"model":"m","messages":[{{"role":"user","content":"Hi"}}],{field}}}"#);
    let cases = [
        ("an escaped key", r#"{"mod\u0065l":"m","messages":[{"role":"user","content":"Hi"}]}"#.to_owned()),
        ("a number beyond any float", with(r#""x":1e999999"#)),
        ("a number of 100,000 digits", with(&format!(r#""x":{}"#, "7".repeat(100_000)))),
        ("an unknown key twice", with(r#""x":1,"x":2"#)),
        ("nesting of 100", with(&format!(r#""x":{}{}"#, "[".repeat(100), "]".repeat(100)))),
        ("white space around", format!(" \r\n\t{GOOD}\n\n")),
        (
            "a surrogate pair",
            r#"{"model":"m","messages":[{"role":"user","content":"\ud83d\ude00"}]}"#.to_owned(),
        ),
        ("a NUL in a text", r#"{"model":"m","messages":[{"role":"user","content":"a\u0000b"}]}"#.to_owned()),
    ];
    for (name, body) in &cases {
        let reply = ask(&gateway, &post(CHAT, body)).unwrap_or_else(|| panic!("{name}: no answer"));
        assert_eq!(reply.status, 200, "{name}: {}", reply.json());
        assert_eq!(last_call(&fake).body, body.as_bytes(), "{name}");
    }
}

/// Framing, lines and headers; `None`: the connection is closed without an answer.
#[test]
fn requests_that_are_not_http() {
    let (fake, gateway) = in_front_of_fake(ONE_UPSTREAM);
    let length = GOOD.len();
    let framed = |lines: &str| [head(CHAT, lines), GOOD.as_bytes().to_vec()].concat();
    let key = crate::harness::KEY;
    let plain = |line: &str, lines: &str| {
        format!("{line}\r\nhost: gateway.test\r\nauthorization: Bearer {key}\r\n{lines}\r\n").into_bytes()
    };
    let flood: String = (0..300).map(|n| format!("x-{n}: y\r\n")).collect();
    let cases: Vec<(&str, Vec<u8>, u16, Option<&str>)> = vec![
        ("no Host", format!("POST {CHAT} HTTP/1.1\r\nauthorization: Bearer {key}\r\ncontent-length: {length}\r\n\r\n{GOOD}").into_bytes(), 400, Some("INVALID_REQUEST")),
        ("two Hosts", framed(&format!("host: other.test\r\ncontent-length: {length}\r\n")), 400, None),
        ("two lengths", framed(&format!("content-length: {length}\r\ncontent-length: 5\r\n")), 400, None),
        ("a signed length", framed(&format!("content-length: +{length}\r\n")), 400, None),
        ("a length past 64 bits", framed("content-length: 99999999999999999999\r\n"), 400, None),
        ("chunked not last", framed("transfer-encoding: chunked, gzip\r\n"), 400, None),
        ("a space before the colon", framed("transfer-encoding : chunked\r\n"), 400, None),
        ("a folded header", framed(&format!("x-a: b\r\n c\r\ncontent-length: {length}\r\n")), 400, None),
        ("a NUL in a header", framed(&format!("x-a: b\0c\r\ncontent-length: {length}\r\n")), 400, None),
        ("300 headers", framed(&format!("{flood}content-length: {length}\r\n")), 400, None),
        ("a header of 2 MiB", framed(&format!("x-a: {}\r\ncontent-length: {length}\r\n", "b".repeat(2 << 20))), 400, None),
        ("a bad chunk", [head(CHAT, "transfer-encoding: chunked\r\n"), b"zz\r\nab\r\n0\r\n\r\n".to_vec()].concat(), 400, Some("INVALID_REQUEST")),
        ("a chunk past 64 bits", [head(CHAT, "transfer-encoding: chunked\r\n"), b"fffffffffffffffff\r\n".to_vec()].concat(), 400, Some("INVALID_REQUEST")),
        ("not HTTP at all", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec(), 400, None),
        ("HTTP/3.7", plain(&format!("GET {CHAT} HTTP/3.7"), ""), 400, None),
        ("CONNECT", plain("CONNECT gateway.test:443 HTTP/1.1", ""), 405, None),
        ("an upgrade", plain("GET /v1/models HTTP/1.1", "connection: upgrade\r\nupgrade: websocket\r\n"), 400, Some("INVALID_REQUEST")),
        ("an upgrade among others", plain("GET /v1/models HTTP/1.1", "connection: upgrade\r\nupgrade: h2c, WebSocket\r\n"), 400, Some("INVALID_REQUEST")),
        ("an unknown path", post("/v1/nothing", GOOD), 404, Some("NOT_FOUND")),
        ("a path beside", post("/v1/chat/completions/", GOOD), 404, Some("NOT_FOUND")),
        ("an encoded path", post("/v1/chat%2Fcompletions", GOOD), 404, Some("NOT_FOUND")),
        ("another method", plain(&format!("DELETE {CHAT} HTTP/1.1"), ""), 405, Some("METHOD_NOT_ALLOWED")),
        ("an unknown method", plain(&format!("BREW {CHAT} HTTP/1.1"), ""), 405, Some("METHOD_NOT_ALLOWED")),
        ("TRACE", plain("TRACE / HTTP/1.1", ""), 404, Some("NOT_FOUND")),
        ("absolute form for another host", post("http://other.test/v1/chat/completions", GOOD), 400, None),
    ];
    let mut wrong = Vec::new();
    for (name, request, status, code) in &cases {
        let reply = ask(&gateway, request);
        let got = reply.as_ref().map_or((0, None), |reply| (reply.status, reply.code()));
        if got != (*status, code.map(str::to_owned)) {
            wrong.push(format!("{name}: {got:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(passed_on(&fake), 0);
    assert_serves(&gateway, "all of it");
}

/// What is served although it looks odd.
#[test]
fn requests_that_are_served_all_the_same() {
    let (fake, gateway) = in_front_of_fake(ONE_UPSTREAM);
    let length = GOOD.len();
    let many: String = (0..80).map(|n| format!("x-{n}: y\r\n")).collect();
    let cases = [
        ("absolute form", post(&format!("http://gateway.test{CHAT}"), GOOD)),
        (
            "80 further headers",
            [head(CHAT, &format!("{many}content-length: {length}\r\n")), GOOD.into()].concat(),
        ),
        ("a query", post(&format!("{CHAT}?a=b"), GOOD)),
        (
            // With every first request of some clients (RFC 9110 section 7.8: an offer that a server may ignore).
            "an offer of HTTP/2",
            [
                head(
                    CHAT,
                    &format!(
                        "connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\ncontent-length: {length}\r\n"
                    ),
                ),
                GOOD.into(),
            ]
            .concat(),
        ),
        (
            "chunks of one byte",
            [head(CHAT, "transfer-encoding: chunked\r\n"), chunks(GOOD.as_bytes(), 1)].concat(),
        ),
        (
            "HTTP/1.0",
            String::from_utf8(post(CHAT, GOOD)).expect("text").replace("HTTP/1.1", "HTTP/1.0").into_bytes(),
        ),
    ];
    for (name, request) in &cases {
        let reply = ask(&gateway, request).unwrap_or_else(|| panic!("{name}: no answer"));
        assert_eq!(reply.status, 200, "{name}: {}", reply.json());
        assert_eq!(last_call(&fake).body, GOOD.as_bytes(), "{name}");
        assert_eq!(last_call(&fake).path, CHAT, "{name}");
        let hop = last_call(&fake).headers.into_iter().map(|(name, _)| name);
        let hop: Vec<_> = hop.filter(|name| ["upgrade", "http2-settings"].contains(&name.as_str())).collect();
        assert!(hop.is_empty(), "{name}: {hop:?}");
    }
}

/// What concerns one connection alone (RFC 9110 section 7.6.1), by its name or because `connection` names it.
#[test]
fn hop_by_hop_headers_end_here() {
    let (fake, gateway) = in_front_of_fake(ONE_UPSTREAM);
    let lines = [
        "connection: keep-alive, X-Mine",
        "x-mine: 1",
        "keep-alive: timeout=9",
        "proxy-connection: keep-alive",
        "proxy-authorization: Basic eA==",
        "te: trailers",
        "trailer: x-sum",
        "x-kept: 2",
    ];
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    let request = [head(CHAT, &format!("{lines}content-length: {}\r\n", GOOD.len())), GOOD.into()].concat();
    assert_eq!(ask(&gateway, &request).expect("answered").status, 200);
    let names: Vec<_> = last_call(&fake).headers.into_iter().map(|(name, _)| name).collect();
    assert!(names.contains(&"x-kept".to_owned()), "{names:?}");
    let hop =
        ["connection", "x-mine", "keep-alive", "proxy-connection", "proxy-authorization", "te", "trailer"];
    let passed: Vec<_> = names.iter().filter(|name| hop.contains(&name.as_str())).collect();
    assert!(passed.is_empty(), "{passed:?}");
}

/// Content-Length and Transfer-Encoding together (RFC 9112 section 6.3): the length is ignored, and nothing that follows on the
/// connection is taken for a request.
#[test]
fn both_framings_smuggle_nothing() {
    let (fake, gateway) = in_front_of_fake(ONE_UPSTREAM);
    let hidden = post(CHAT, GOOD.replace("Hi", "smuggled"));
    let body = [chunks(GOOD.as_bytes(), 1024), hidden].concat();
    let lines = format!("content-length: {}\r\ntransfer-encoding: chunked\r\n", body.len());
    let mut wire = Wire::open(gateway.listen);
    wire.send(&[head(CHAT, &lines), body].concat());
    let reply = wire.reply().expect("answered");
    assert!([200, 400].contains(&reply.status), "{}", reply.status);
    assert!(wire.is_closed(), "the connection is not used again");
    let bodies: Vec<_> = fake.ledger().entries().into_iter().filter(|entry| entry.method == "POST").collect();
    assert!(bodies.iter().all(|entry| entry.body == GOOD.as_bytes()));
    assert_serves(&gateway, "both framings");
}

const SMALL: &str = "bounds: {max_body: 64KiB, body_timeout: 1s}\n";

#[test]
fn a_body_that_is_too_large() {
    let (fake, gateway) = in_front_of_fake(&format!("{ONE_UPSTREAM}{SMALL}"));
    let large = GOOD.replace("Hi", &"x".repeat(100_000));
    let cases = [
        ("with its length", post(CHAT, &large)),
        ("only announced", head(CHAT, "content-length: 10000000000\r\n")),
        ("announced, and asked before", head(CHAT, "content-length: 100000\r\nexpect: 100-continue\r\n")),
        (
            "in chunks",
            [head(CHAT, "transfer-encoding: chunked\r\n"), chunks(large.as_bytes(), 1000)].concat(),
        ),
    ];
    for (name, request) in &cases {
        let reply = ask(&gateway, request).unwrap_or_else(|| panic!("{name}: no answer"));
        assert_eq!((reply.status, reply.code().as_deref()), (413, Some("BODY_TOO_LARGE")), "{name}");
        assert_serves(&gateway, name);
    }
    let reply = ask(&gateway, &post("/v1/messages", &large)).expect("answered");
    assert_eq!(reply.status, 413);
    assert_eq!(reply.json()["error"]["type"], "request_too_large");
    assert_eq!(passed_on(&fake), cases.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_too_large_over_h2() {
    let yaml = crate::harness::HEAD.replace("\"${LISTEN}\"}", "\"${LISTEN}\", h2c: true}");
    let fake = Fake::start(tollgate_fake_upstream::Options::default()).expect("starts");
    let gateway = Gateway::start(&format!("{yaml}{ONE_UPSTREAM}{SMALL}"), &[("UPSTREAM", &fake.url())]);
    let client = reqwest::Client::builder().http2_prior_knowledge().build().expect("a client");
    let large = GOOD.replace("Hi", &"x".repeat(1_000_000)).into_bytes();
    for declared in [true, false] {
        let body = if declared { reqwest::Body::from(large.clone()) } else { pieces(large.clone()) };
        let answer = client.post(gateway.url(CHAT)).bearer_auth(crate::harness::KEY).body(body).send().await;
        let answer = answer.unwrap_or_else(|error| panic!("declared {declared}: {error:?}"));
        assert_eq!(answer.status(), 413, "declared: {declared}");
        let body: serde_json::Value = answer.json().await.expect("JSON");
        assert_eq!(body["error"]["code"], "BODY_TOO_LARGE");
    }
    assert_eq!(passed_on(&fake), 0);
}

/// A body without a length, in pieces.
fn pieces(whole: Vec<u8>) -> reqwest::Body {
    let whole = bytes::Bytes::from(whole);
    let size = 50_000;
    let pieces: Vec<Result<_, std::io::Error>> = (0..whole.len().div_ceil(size))
        .map(|n| Ok(Frame::data(whole.slice(n * size..whole.len().min((n + 1) * size)))))
        .collect();
    reqwest::Body::wrap(StreamBody::new(futures::stream::iter(pieces)))
}

#[test]
fn a_body_that_comes_too_slowly() {
    let (fake, gateway) = in_front_of_fake(&format!("{ONE_UPSTREAM}{SMALL}"));
    let length = format!("content-length: {}\r\n", GOOD.len());
    let half = &GOOD.as_bytes()[..20];
    let cases = [
        ("never begun", head(CHAT, &length)),
        ("half of it", [head(CHAT, &length), half.to_vec()].concat()),
        (
            "chunks without end",
            [head(CHAT, "transfer-encoding: chunked\r\n"), b"3\r\nabc\r\n".to_vec()].concat(),
        ),
    ];
    for (name, request) in &cases {
        let reply = ask(&gateway, request).unwrap_or_else(|| panic!("{name}: no answer"));
        assert_eq!((reply.status, reply.code().as_deref()), (408, Some("REQUEST_TIMEOUT")), "{name}");
    }
    // A steady trickle is not progress without end: the whole body has one deadline.
    let mut wire = Wire::open(gateway.listen);
    wire.send(&head(CHAT, &length));
    for byte in GOOD.as_bytes().iter().take(30) {
        wire.send(&[*byte]);
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(wire.reply().expect("answered").status, 408);
    assert_eq!(passed_on(&fake), 0);
    assert_serves(&gateway, "slow bodies");
}

#[test]
fn a_client_that_closes_in_its_body() {
    let (fake, gateway) = in_front_of_fake(ONE_UPSTREAM);
    let length = format!("content-length: {}\r\n", GOOD.len());
    for request in [
        [head(CHAT, &length), GOOD.as_bytes()[..20].to_vec()].concat(),
        [head(CHAT, "transfer-encoding: chunked\r\n"), b"5\r\nabc".to_vec()].concat(),
        b"POST /v1/chat/compl".to_vec(),
    ] {
        Wire::open(gateway.listen).send(&request); // and gone
        let mut wire = Wire::open(gateway.listen);
        wire.send(&request).half_close();
        let _ = wire.reply(); // an answer may still come; nothing depends on it
    }
    assert_serves(&gateway, "clients that left");
    assert_eq!(passed_on(&fake), 1);
    crate::harness::until(
        || (gateway.metric("tollgate_requests_in_flight", "") == 0.0).then_some(()),
        "no request in flight",
    );
    assert_eq!(gateway.metric("tollgate_body_bytes_in_flight", ""), 0.0);
}

#[test]
fn anthropic_clients_get_their_own_form() {
    let (fake, gateway) = in_front_of_fake(ONE_UPSTREAM);
    let cases: [(&str, Vec<u8>, u16, &str, &str); 4] = [
        ("not JSON", post("/v1/messages", "{"), 400, "invalid_request_error", "INVALID_JSON"),
        (
            "no messages",
            post("/v1/messages", r#"{"model":"m"}"#),
            400,
            "invalid_request_error",
            "INVALID_REQUEST",
        ),
        ("a path below", post("/v1/messages/batches", "{}"), 404, "not_found_error", "NOT_FOUND"),
        (
            "another method",
            b"GET /v1/messages HTTP/1.1\r\nhost: gateway.test\r\n\r\n".to_vec(),
            405,
            "invalid_request_error",
            "METHOD_NOT_ALLOWED",
        ),
    ];
    for (name, request, status, kind, code) in cases {
        let reply = ask(&gateway, &request).unwrap_or_else(|| panic!("{name}: no answer"));
        let body = reply.json();
        assert_eq!(reply.status, status, "{name}: {body}");
        assert_eq!(body["type"], "error", "{name}");
        assert_eq!(body["error"]["type"], kind, "{name}");
        assert_eq!(body["error"]["code"], code, "{name}");
        assert_eq!(body["request_id"].as_str(), reply.header("request-id"), "{name}");
    }
    assert_eq!(passed_on(&fake), 0);
}
