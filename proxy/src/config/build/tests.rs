use serde_json::{Value, json};
use tollgate_filters::conf::Problem;

use super::super::{BaseUrl, Config, KeySecret, KeySource};
use super::{Files, url};

/// A file with one of everything, changed by `change`.
fn built(change: impl FnOnce(&mut Value)) -> Result<Config, Vec<String>> {
    let mut file = json!({
        "listeners": [{"address": "127.0.0.1:8080"}],
        "auth": {"jwt": [{"issuer": "https://login.example", "audience": ["us"]}]},
        "organizations": [{"id": "acme", "applications": [{"id": "chat", "keys": [{"id": "dev", "hash": "ab".repeat(32)}]}]}],
        "providers": [
            {"id": "gpu", "kind": "vllm", "base_urls": ["http://10.0.0.1:8000"], "labels": {"region": "eu"}},
            {"id": "cloud", "kind": "openai", "labels": {"region": "us"}},
        ],
        "models": [{"name": "m", "targets": [{"provider": "gpu"}], "fallback": [{"provider": "cloud", "model": "gpt-4o"}]}],
        "routes": [{"team": "quant", "model": "m"}],
        "limits": [{"id": "rate", "scope": "application", "requests": "100/min"}],
        "guardrails": {"overrides": [{"kind": "email", "action": "log"}]},
    });
    change(&mut file);
    let raw = serde_json::from_value(file).expect("the shape is right in these tests");
    Config::build(raw, Files::default())
        .map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

/// Sets one value, by JSON pointer; a last part that does not exist is added.
fn set(file: &mut Value, pointer: &str, value: Value) {
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
    let parent = file.pointer_mut(parent).expect("the parent exists");
    match parent {
        Value::Array(list) => list.push(value),
        _ => parent[key] = value,
    }
}

#[test]
fn the_example_is_right() {
    let config = built(|_| {}).expect("right");
    assert_eq!(config.warnings, []);
    assert!(matches!(config.organizations[0].applications[0].keys[0].secret, KeySecret::Generated { .. }));
    assert_eq!(config.auth.jwt[0].keys, KeySource::Discovery);
    let [gpu, cloud] = &config.providers[..] else { panic!("two providers") };
    assert!(gpu.health.is_some() && cloud.health.is_none());
    assert!(gpu.responses && gpu.messages && cloud.responses && !cloud.messages);
    assert_eq!(cloud.base_urls[0].host, "api.openai.com");
    let model = &config.models[0];
    assert_eq!((&*model.targets[0].id, &*model.fallback[0].id), ("gpu", "cloud:gpt-4o"));
    assert_eq!(config.guardrails.profile.name, "strict");
}

#[test]
fn mistakes() {
    let table = [
        // listeners, admin, process, bounds
        ("/listeners", json!([]), "listeners: is empty; write [{address"),
        (
            "/listeners/0/address",
            json!("localhost:8080"),
            "listeners[0].address: is not an IP address and port",
        ),
        (
            "/listeners/-",
            json!({"address": "127.0.0.1:8080"}),
            "listeners[1].address: is the same as listeners[0].address",
        ),
        ("/listeners/0/trusted_proxies", json!(["10.0.0.0/33"]), "trusted_proxies[0]: is not a network"),
        ("/listeners/0/cors", json!({"origins": []}), "listeners[0].cors.origins: is empty"),
        ("/listeners/0/cors", json!({"origins": ["app.example"]}), "cors.origins[0]: is not an origin"),
        ("/admin", json!({"address": "127.0.0.1:8080"}), "admin.address: is also the address of a listener"),
        ("/admin", json!({"token_hash": "x"}), "admin.token_hash: is not a SHA-256"),
        ("/admin", json!({"hosts": ["http://x"]}), "admin.hosts[0]: is not a host name"),
        ("/process", json!({"watch": "10ms"}), "process.watch: is 10ms; write 1s or more"),
        (
            "/bounds",
            json!({"max_bodies": "1MiB"}),
            "bounds.max_bodies: is less than one body (max_body: 32MiB)",
        ),
        // auth
        ("/auth/jwt/0/audience", json!([]), "auth.jwt[0].audience: is empty, so tokens made for other"),
        ("/auth/jwt/0/issuer", json!("http://login.example"), "auth.jwt[0].issuer: is plain http"),
        ("/auth/jwt/0/jwks_uri", json!("http://keys.example"), "auth.jwt[0].jwks_uri: is plain http"),
        (
            "/auth/jwt/0/algorithms",
            json!(["HS256"]),
            "algorithms[0]: lets whoever can read the keys make tokens",
        ),
        ("/auth/jwt/0/algorithms", json!(["none"]), "algorithms[0]: lets whoever"),
        ("/auth/jwt/0/algorithms", json!(["RS999"]), "algorithms[0]: is unknown; write some of: RS256"),
        ("/auth/jwt/0/leeway", json!("1h"), "auth.jwt[0].leeway: is 1h; write 5m or less"),
        (
            "/auth/jwt/0/claims",
            json!({"default_organization": "x"}),
            "default_organization `x` is unknown; write one of: acme",
        ),
        (
            "/auth/jwt",
            json!([
                {"issuer": "https://login.example", "audience": ["us"], "organizations": ["acme"]},
                {"issuer": "https://login.example", "audience": ["us"], "organizations": ["acme"]},
            ]),
            "auth.jwt[1].issuer: is the same as",
        ),
        (
            "/auth/jwt/-",
            json!({"issuer": "https://other.example", "audience": ["us"]}),
            "auth.jwt: https://login.example and https://other.example could name any organisation, another issuer's too; write organizations: [",
        ),
        ("/auth/jwt/0/organizations", json!([]), "organizations is empty, so every token would be refused"),
        (
            "/auth/jwt/0/organizations",
            json!(["x"]),
            "organizations names `x`, which is unknown; write some of: acme",
        ),
        (
            "/organizations/0/applications/0/keys/-",
            json!({"id": "two", "key": "an-own-key.with-two.dots-in-it"}),
            "keys[1].key: has two dots, so it would be read as a token",
        ),
        (
            "/auth/cookie_origins",
            json!(["https://app.example"]),
            "auth.cookie_origins: means nothing without the cookie",
        ),
        // tenants
        (
            "/organizations/-",
            json!({"id": "acme"}),
            "organizations[1].id: is the same as organizations[0].id",
        ),
        ("/organizations/0/id", json!("a b"), "organizations[0].id: write at most 128"),
        ("/organizations/0/applications/0/keys/0/id", json!("a/b"), "keys[0].id: write 1 to 128 letters"),
        (
            "/organizations/0/applications/0/keys/-",
            json!({"id": "two", "hash": "ab".repeat(32)}),
            "keys[1].hash: is the same as",
        ),
        (
            "/organizations/0/applications/0/models",
            json!(["nope"]),
            "models[0]: `nope` is no model here; write one of: m",
        ),
        ("/organizations/0/applications/0/models", json!(["m*x"]), "models[0]: is not a model's name"),
        // upstreams
        ("/providers/0/base_urls", json!([]), "providers[0].base_urls: is empty; write the hosts"),
        ("/providers/0/base_urls", json!(["http://u:p@h"]), "base_urls[0]: holds a user name or password"),
        ("/providers/0/base_urls", json!(["http://h", "http://h:80/v1/"]), "base_urls[1]: is the same as"),
        (
            "/providers/-",
            json!({"id": "gpu", "kind": "openai"}),
            "providers[2].id: is the same as providers[0].id",
        ),
        ("/providers/0/client_cert", json!("c.pem"), "providers[0].client_cert: needs its key"),
        ("/providers/0/api_version", json!("1"), "providers[0].api_version: is Azure's"),
        (
            "/providers/1/messages",
            json!(true),
            "providers[1].messages: is a surface this kind of provider does not have",
        ),
        ("/providers/0/api_key", json!("a\nb"), "providers[0].api_key: has spaces, line ends"),
        ("/providers/0/breaker", json!({"error_rate": 0}), "breaker.error_rate: is not a share"),
        ("/providers/0/breaker", json!({"open": "5m"}), "breaker.max_open: is less than open (5m)"),
        ("/providers/0/health", json!({"path": "health"}), "health.path: is not a path"),
        ("/models/0/targets", json!([]), "models[0].targets: is empty"),
        ("/models/0/targets/0/weight", json!(0), "models[0].targets: have all weight 0"),
        (
            "/models/0/targets/0/provider",
            json!("gpux"),
            "`gpux` is no provider here; write one of: gpu, cloud",
        ),
        (
            "/models/0/targets/-",
            json!({"provider": "gpu"}),
            "models[0].targets[1]: is the same as models[0].targets[0]",
        ),
        (
            "/models/-",
            json!({"name": "m", "targets": [{"provider": "gpu"}]}),
            "models[1].name: is the same as models[0].name",
        ),
        (
            "/models/-",
            json!({"name": "m*", "targets": [{"provider": "gpu"}]}),
            "models[1].name: has a `*` in it",
        ),
        ("/models/0/require", json!({"region": "ap"}), "models[0].require: is met by no target"),
        ("/routes/0/model", json!("nope"), "routes[0].model: `nope` is no model here"),
        ("/routes/0/model", json!("*"), "routes[0].model: is not a model's name"),
        (
            "/routes/-",
            json!({"team": "quant", "model": "m"}),
            "routes[1].team: is the same as routes[0].team",
        ),
        ("/routes/-", json!({"model": "m"}), "routes[1].model: stands without a team"),
        ("/routes/-", json!({"team": "x"}), "routes[1]: has a team but no model"),
        ("/routes/0/required_headers", json!(["x y"]), "required_headers[0]: is not a header's name"),
        (
            "/routes/0/anonymous_as",
            json!("nobody"),
            "routes[0].anonymous_as: `nobody` is no organisation here",
        ),
        // limits, guardrails, audit, telemetry
        ("/limits/0/requests", Value::Null, "limits[0]: limits nothing"),
        ("/limits/0/token_burst", json!(5), "limits[0].token_burst: needs tokens"),
        (
            "/limits/0/only",
            json!({"application": "x"}),
            "limits[0].only.application: `x` is no application here; write one of: chat",
        ),
        (
            "/limits/0/only",
            json!({"key": "x"}),
            "limits[0].only.key: `x` is no API key here; write one of: dev",
        ),
        (
            "/limits/0/only",
            json!({"team": "x"}),
            "limits[0].only.team: `x` is no team route here; write one of: quant",
        ),
        (
            "/limits/-",
            json!({"id": "rate", "scope": "key", "tokens": "1/s"}),
            "limits[1].id: is the same as limits[0].id",
        ),
        (
            "/guardrails/profile",
            json!("lax"),
            "guardrails.profile: `lax` is no profile; write one of: strict, chat, coding",
        ),
        ("/guardrails/overrides/0/kind", json!("mail"), "overrides[0].kind: `mail` is no kind of finding"),
        ("/guardrails/overrides/0/rule", json!("email"), "overrides[0].rule: stands beside kind"),
        ("/guardrails/overrides/0/action", json!("pseudonymise"), "guardrails.pseudonym_key: is missing"),
        (
            "/guardrails/overrides/0/require",
            json!({"on_premises": true}),
            "guardrails.overrides[0].require: demands {on_premises: true}, which no target carries",
        ),
        ("/guardrails/overrides/0/shadow", json!("block"), "overrides[0].shadow: stands beside action"),
        ("/guardrails/identifiers", json!("hash"), "guardrails.pseudonym_key: is missing, and identifiers"),
        ("/audit", json!({"content": "hashed"}), "audit.hash_key: is missing"),
        ("/audit", json!({"hash_key": "short"}), "audit.hash_key: is too short"),
        ("/audit", json!({"commit_interval": "1m"}), "audit.commit_interval: is 1m; write 10s or less"),
        ("/telemetry", json!({"level": "info,x=loud"}), "telemetry.level: is not a log level"),
    ];
    for (pointer, value, said) in table {
        let problems = built(|file| set(file, pointer, value.clone())).expect_err(said);
        let exactly_one = problems.len() == 1 && problems[0].contains(said);
        assert!(exactly_one, "{pointer} = {value} gave {problems:#?}, not: {said}");
    }
}

#[test]
fn the_admin_listener_is_never_open() {
    let tls = json!({"cert": "c", "key": "k"});
    let token = json!("ab".repeat(32));
    for (admin, problems) in [
        (json!({"address": "0.0.0.0:1"}), 2),
        (json!({"address": "0.0.0.0:1", "tls": tls}), 1),
        (json!({"address": "[::]:1", "token_hash": token}), 1),
        (json!({"address": "0.0.0.0:1", "tls": tls, "token_hash": token}), 0),
        (json!({"address": "127.0.0.2:1"}), 0),
        (json!({"address": "[::1]:1"}), 0),
    ] {
        let got = built(|file| file["admin"] = admin.clone()).err().map_or(0, |said| said.len());
        assert_eq!(got, problems, "{admin}");
    }
}

#[test]
fn warnings() {
    let warned = |change: &dyn Fn(&mut Value)| -> Vec<String> {
        built(change).expect("only a warning").warnings.iter().map(ToString::to_string).collect()
    };
    let table: [(&str, Value, &str); 6] = [
        (
            "/routes/0/anonymous_as",
            json!("acme"),
            "lets anyone use /api/quant/predict without a key, as `acme`",
        ),
        ("/routes/-", json!({"anonymous_as": "acme"}), "lets anyone use the /v1 surfaces without a key"),
        ("/auth/cookie", json!(true), "only pages of the gateway's own site"),
        ("/providers/0/api_key", json!("k"), "is sent in clear"),
        ("/models/0/require", json!({"region": "us"}), "models[0].targets[0]: lacks labels"),
        ("/organizations/0/applications/0/models", json!([]), "no model may be used"),
    ];
    for (pointer, value, said) in table {
        let got = warned(&|file| set(file, pointer, value.clone()));
        assert!(got.len() == 1 && got[0].contains(said), "{pointer}: {got:?}");
    }
    let nobody = warned(&|file| {
        set(file, "/organizations", json!([]));
        set(file, "/auth", json!({}));
    });
    assert!(nobody[0].starts_with("nobody can call"), "{nobody:?}");
}

#[test]
fn an_empty_jwks_file_switches_the_issuer_off() {
    let config = built(|file| set(file, "/auth/jwt/0/jwks_file", json!(""))).expect("off");
    assert!(config.auth.jwt.is_empty());
    let both = built(|file| {
        set(file, "/auth/jwt/0/jwks_file", json!("f"));
        set(file, "/auth/jwt/0/jwks_uri", json!("https://k.example"));
    });
    assert!(both.expect_err("both")[0].contains("stands beside jwks_uri"));
}

#[test]
fn base_urls() {
    let check = |text: &str, expect: Option<(bool, &str, u16, &str)>| {
        let expect = expect.map(|(tls, host, port, prefix)| BaseUrl {
            tls,
            host: host.into(),
            port,
            prefix: prefix.into(),
        });
        assert_eq!(url::base(text).ok(), expect, "{text}");
    };
    check("http://h", Some((false, "h", 80, "")));
    check("https://H.example/", Some((true, "h.example", 443, "")));
    check("HTTP://h:8000/v1", Some((false, "h", 8000, "")));
    check("https://h/llm/v1/", Some((true, "h", 443, "/llm")));
    check("https://h/v1beta", Some((true, "h", 443, "/v1beta")));
    check("http://[::1]:8000", Some((false, "::1", 8000, "")));
    for bad in [
        "",
        "h",
        "h:80",
        "ftp://h",
        "http://",
        "http:///x",
        "http://h:",
        "http://h:0",
        "http://h:65536",
        "http://h:x",
        "http://u@h",
        "http://h?q",
        "http://h#f",
        "http://h/a b",
        "http://h h",
    ] {
        check(bad, None);
    }
    let authority = |text: &str| url::base(text).expect("good").authority();
    assert_eq!(authority("https://h:443"), "h");
    assert_eq!(authority("http://h:443"), "h:443");
    assert_eq!(authority("https://[::1]/"), "[::1]");
}

#[test]
fn what_a_reload_cannot_take_over() {
    let before = built(|_| {}).expect("right");
    let tls = json!({"cert": "c", "key": "k"});
    let table = [
        ("/listeners/0/address", json!("127.0.0.1:1"), "refused", "listeners[0].address"),
        ("/listeners/-", json!({"address": "127.0.0.1:2"}), "refused", "listeners"),
        ("/listeners/0/tls", tls.clone(), "refused", "listeners[0].tls"),
        ("/listeners/0/h2c", json!(true), "refused", "listeners[0].h2c"),
        ("/listeners/0/trusted_proxies", json!(["10.0.0.0/8"]), "taken over", ""),
        ("/admin", json!({"address": "127.0.0.1:3"}), "refused", "admin.address"),
        ("/admin", json!({"tls": tls}), "refused", "admin.tls"),
        ("/admin", json!({"token_hash": "ab".repeat(32)}), "taken over", ""),
        ("/state_dir", json!("/elsewhere"), "refused", "state_dir"),
        ("/process", json!({"drain": "1s"}), "later", "process.drain"),
        ("/audit", json!({"queue": 7}), "later", "audit.queue"),
        ("/audit", json!({"content": "off"}), "taken over", ""),
        ("/telemetry", json!({"level": "debug"}), "later", "telemetry.level"),
        ("/limits/0/requests", json!("1/s"), "taken over", ""),
    ];
    for (pointer, value, expect, path) in table {
        let after = built(|file| set(file, pointer, value.clone())).expect("right");
        let change = before.change_to(&after);
        let paths = |problems: &[Problem]| -> Vec<String> {
            problems.iter().map(|problem| problem.path.to_string()).collect()
        };
        let got = (paths(&change.refused), paths(&change.later));
        let expect = match expect {
            "refused" => (vec![path.to_owned()], vec![]),
            "later" => (vec![], vec![path.to_owned()]),
            _ => (vec![], vec![]),
        };
        assert_eq!(got, expect, "{pointer} = {value}");
    }
}

#[test]
fn overrides_are_bounded() {
    let with = |count: usize| {
        let entry = json!({"kind": "email", "action": "log"});
        built(|file| set(file, "/guardrails/overrides", json!(vec![entry; count])))
    };
    assert_eq!(
        with(super::super::MAX_OVERRIDES).expect("as many as there may be").guardrails.overrides.len(),
        65_535
    );
    let problems = with(super::super::MAX_OVERRIDES + 1).expect_err("one too many");
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].contains("guardrails.overrides: has 65536 entries"), "{problems:?}");
}
