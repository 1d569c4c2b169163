//! Wrong files, and every line that is said about them.

use super::{load, problems};

/// In `text` a `§` stands before each place where a problem is expected, one per problem; in their order the problems begin with
/// these paths and say these words. There are no others.
#[track_caller]
fn check(text: &str, expect: &[(&str, &str)]) {
    let (mut plain, mut line, mut column, mut places) = (String::new(), 1, 1, Vec::new());
    for c in text.chars() {
        match c {
            '§' => places.push(format!("{line}:{column}: ")),
            _ => {
                plain.push(c);
                (line, column) = if c == '\n' { (line + 1, 1) } else { (line, column + 1) };
            }
        }
    }
    let got = problems(&plain);
    let fits = |((got, place), (path, words)): ((&String, &String), &(&str, &str))| {
        got.strip_prefix(place.as_str()).is_some_and(|rest| rest.starts_with(path) && rest.contains(words))
    };
    let all = got.len() == expect.len() && places.len() == expect.len();
    let matches = all && got.iter().zip(&places).zip(expect).all(fits);
    assert!(matches, "of\n{text}\ncame\n{}\nnot\n{places:?} {expect:#?}", got.join("\n"));
}

/// Three lines that every file needs, then `rest`.
fn with(rest: &str) -> String {
    format!(
        "listeners: [{{address: \"127.0.0.1:0\"}}]\n\
         providers: [{{id: gpu, kind: vllm, base_urls: [\"http://127.0.0.1:1\"]}}]\n\
         models: [{{name: m, targets: [{{provider: gpu}}]}}]\n{rest}"
    )
}

#[test]
fn nothing_is_wrong_with_the_common_part() {
    check(&with(""), &[]);
}

#[test]
fn yaml() {
    check("§", &[("the file is empty", "conf/quickstart.yaml")]);
    check("§- a\n", &[("is a list; write a block with keys such as listeners", "")]);
    check("§just text", &[("is a text; write a block", "")]);
    check(&with("limits: []\n§limits: []"), &[("`limits` stands twice in this block", "")]);
    // The reader's own words; only that they come, and at one place.
    for text in
        ["admin: {address: [}", "limits: &a [*b]", "\tlimits: []", "limits: [", "a: \"\\q\"", "--- a\n--- b"]
    {
        let said = problems(&with(text));
        assert_eq!(said.len(), 1, "{text}: {said:?}");
    }
}

#[test]
fn keys() {
    check(&with("§limit: []"), &[("limit: ", "did you mean `limits`?")]);
    check(&with("§zzz: 1"), &[("zzz: ", "write one of: listeners, admin")]);
    check(&with("§budgets: []"), &[("budgets: ", "budgets are not built yet; until then use limits")]);
    check(&with("audit:\n  §kafka: {}"), &[("audit.kafka: ", "not built yet")]);
    check(&with("process: {§drian: 5s}"), &[("process.drian: ", "did you mean `drain`?")]);
    check("§models: []", &[("lacks `listeners`; write a list", "")]);
    check(
        &with("limits:\n  - §{id: a, requests: 1/s}"),
        &[("limits[0]: lacks `scope`; write for example \"application\"", "")],
    );
    // What was probably meant is not also called missing.
    check(
        &with("limits:\n  - {id: a, §scop: key, requests: 1/s}"),
        &[("limits[0].scop: ", "did you mean `scope`?")],
    );
}

#[test]
fn types() {
    check(&with("limits: §{}"), &[("limits: ", "is a block of keys; write a list")]);
    check(&with("limits: §~"), &[("limits: ", "is empty; write a list")]);
    check(&with("process: §5"), &[("process: ", "is a number; write a block with keys such as threads")]);
    let table = [
        (
            "process: {threads: §\"4\"}",
            "process.threads: is a text; write a whole number from 1 to 1024 without quotes",
        ),
        ("process: {threads: §1.5}", "process.threads: is a fraction; write a whole number from 1 to 1024"),
        ("process: {threads: §0}", "process.threads: is 0; write a whole number from 1 to 1024"),
        ("process: {drain: §30}", "process.drain: is a number; write a duration such as 30s or 1m30s"),
        ("process: {drain: §30 s}", "process.drain: `30 s` is not a duration; write 50ms, 30s"),
        ("bounds: {max_body: §32mb}", "bounds.max_body: `32mb` is not a size; write bytes or 2KiB"),
        ("bounds: {max_body: §-1}", "bounds.max_body: is -1; write a size such as 2KiB"),
        ("admin: {show_checks: §yes}", "admin.show_checks: is a text here; write true or false"),
        ("state_dir: §5", "state_dir: is a number; put it in quotes: \"5\""),
        ("state_dir: §true", "state_dir: is a truth value; put it in quotes: \"true\""),
        ("telemetry: {log: §xml}", "telemetry.log: is unknown; write one of: json, text, off"),
        ("telemetry: {log: §Json}", "telemetry.log: did you mean `json`?"),
        ("audit: {content: §[off]}", "audit.content: is a list; write one of: off, redacted, hashed"),
        (
            "limits: [{id: a, scope: key, requests: §100}]",
            "limits[0].requests: is a number; write a rate such as 100/min",
        ),
        ("limits: [{id: a, scope: key, requests: §0/s}]", "limits[0].requests: `0/s` is not a rate above 0"),
    ];
    for (text, said) in table {
        check(&with(text), &[(said, "")]);
    }
    check(&with("telemetry: {log: off}"), &[]);
}

#[test]
fn variables() {
    check(&with("process: {threads: \"${FOUR}\"}\nadmin: {show_checks: \"${TRUE}\"}"), &[]);
    check(&with("process: {threads: \"${NO:-8}\"}"), &[]);
    let table = [
        ("process: {threads: §\"${NO:-x}\"}", "process.threads: is a text; write a whole number"),
        ("state_dir: §\"${NOWHERE}\"", "state_dir: the environment variable NOWHERE is not set; set it"),
        (
            "state_dir: §\"${NOWHERE:?make one}\"",
            "state_dir: the environment variable NOWHERE is not set: make one",
        ),
        ("state_dir: §\"${NOWHERE\"", "state_dir: has a `${` without its `}`"),
    ];
    for (text, said) in table {
        check(&with(text), &[(said, "")]);
    }
    // A value brings no keys of its own.
    let loaded = load(&with("state_dir: \"${EVIL}\"")).expect("a strange name, but a name");
    assert!(loaded.config.state_dir.to_string_lossy().contains("0.0.0.0:1"));
    assert_eq!(loaded.config.admin.address.to_string(), "127.0.0.1:8081");
}

fn with_key(key: &str) -> String {
    with(&format!("organizations: [{{id: o, applications: [{{id: a, keys: [§{{{key}}}]}}]}}]"))
}

#[test]
fn secrets() {
    const ENTRY: &str = "organizations[0].applications[0].keys[0]";
    let at = format!("{ENTRY}.key: ");
    let at = at.as_str();
    let key = |key: &str| with_key(&format!("id: dev, key: §{key}")).replacen('§', "", 1);
    let literal = "sk-live-0123456789";
    for place in [literal.to_owned(), format!("\"${{NO:-{literal}}}\""), format!("\"{literal}${{EMPTY}}\"")] {
        check(&key(&place), &[(at, "is a secret and must not stand in this file")]);
        let said = problems(&key(&place).replace('§', ""));
        assert!(!said[0].contains(literal), "a report repeats no secret");
    }
    let table = [
        ("5", "is not a secret's place"),
        ("{path: x}", "is not a secret's place"),
        ("{file: /nowhere/key}", "cannot read /nowhere/key"),
        ("\"${SHORT_KEY}\"", "is too short to be safe"),
        ("\"${SPACED}\"", "make one with: tollgate key create"),
        ("\"${EMPTY}\"", "is empty; make one with: tollgate key create"),
        ("\"${OTHER_KEY}\"", "is a key of the id `other`; write id: other here"),
    ];
    for (place, said) in table {
        check(&key(place), &[(at, said)]);
    }
    check(&key("\"${TOLLGATE_KEY}\"").replace('§', ""), &[]);
    check(&with_key("id: dev"), &[(ENTRY, "has no key; write key")]);
    check(&with_key("id: dev, hash: §abc").replacen('§', "", 1), &[(ENTRY, "64 hex digits")]);

    let text = with_key("id: own, key: \"${OWN_KEY}\"").replace('§', "");
    let loaded = load(&text).expect("long enough");
    assert_eq!(loaded.warnings.len(), 1);
    assert!(loaded.warnings[0].to_string().starts_with(&format!("4:70: {at}is a string of your own")));
    assert!(!format!("{:?}", loaded.config).contains("correct-horse"), "Debug shows no secret");
}

#[test]
fn files() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("a writable folder");
        path.display().to_string()
    };
    let key = write("key", &format!("{}\n", super::KEY));
    check(&with_key(&format!("id: dev, key: {{file: {key}}}")).replace('§', ""), &[]);
    let prices = write("prices.yaml", "as_of: 2026-01-01\nmodels: 5\n");
    check(&with(&format!("prices: §{prices}")), &[("prices: ", "prices.yaml:2:9: ")]);
    check(&with("prices: §/nowhere"), &[("prices: cannot read /nowhere", "")]);
    check(&with("prices: §/"), &[("prices: / is a folder; name a file", "")]);
    check(
        &with("prices: §\"${EMPTY}\""),
        &[("prices: is empty; write a file's path, or remove the key", "")],
    );
    let typo = write("typo.yaml", "name: lab\nrequest: {emial: mask}\nanswer: {\"*\": log}\n");
    check(
        &with(&format!("guardrails: {{profile: lab, profiles: [§{typo}]}}")),
        &[("guardrails.profiles[0]: ", "`emial` is no kind of finding; write one of: credit_card, email")],
    );
    let good = write("good.yaml", "name: lab\nrequest: {email: mask}\nanswer: {\"*\": log}\n");
    let loaded =
        load(&with(&format!("guardrails: {{profile: lab, profiles: [{good}]}}"))).expect("a whole profile");
    assert_eq!(loaded.config.guardrails.profile.name, "lab");
    assert!(loaded.files.iter().any(|file| file.ends_with("good.yaml")), "watchers see included files");
    let rules =
        write("rules.yaml", "- {id: mine, kind: mine, pattern: x}\n- {id: mine, kind: mine, pattern: y}\n");
    check(
        &with(&format!("guardrails: {{rules: [§{rules}]}}")),
        &[("guardrails.rules[0]: ", "rule `mine` exists already; give it an id of its own")],
    );
    write("names.txt", "Acme Corp\n\n+\n");
    let named = write("named.yaml", "- {id: names, kind: name, terms_file: names.txt}\n");
    check(
        &with(&format!("guardrails: {{rules: [§{named}]}}")),
        &[(
            "guardrails.rules[0]: ",
            "names.txt:3: the term has 1 characters and fewer than two letters or digits",
        )],
    );
    write("names.txt", &format!("Acme Corp\n{}\n", "x".repeat(150)));
    let said = problems(&with(&format!("guardrails: {{max_hold_bytes: 100, rules: [{named}]}}")));
    assert!(said.iter().any(|said| said.contains("rule `names` may hold back 151 bytes")), "{said:?}");
    let loaded = load(&with(&format!("guardrails: {{rules: [{named}]}}"))).expect("usable terms");
    assert!(loaded.files.iter().any(|file| file.ends_with("names.txt")), "watchers see files of terms");
}

#[test]
fn a_file_with_many_mistakes_gets_them_all_in_order() {
    let text = "\
listeners: [{§adress: \"127.0.0.1:8080\", h2: §no}]
admin: {address: §§\"0.0.0.0:8081\"}
organizations:
  - id: acme
    applications:
      - {id: a, keys: [{id: k, key: §literal, §rol: admin}, {id: §k, hash: §abc}]}
providers:
  - {id: gpu, kind: §vlm, base_urls: [§\"ftp://x\"]}
  - §{kind: openai, timeouts: {connect: §5, idle: §0s}}
models:
  - {name: m, targets: §[{provider: §nowhere, weight: 0}], max_attempts: §99}
routes: [{team: t, model: §zz, anonymous_as: §nobody}]
telemetry: {level: §loud}
";
    check(
        text,
        &[
            ("listeners[0].adress: ", "did you mean `address`?"),
            ("listeners[0].h2: ", "write true or false"),
            ("admin.address: ", "no TLS"),
            ("admin.address: ", "no token"),
            ("organizations[0].applications[0].keys[0].key: ", "is a secret"),
            ("organizations[0].applications[0].keys[0].rol: ", "did you mean `role`?"),
            ("organizations[0].applications[0].keys[1].id: ", "is the same as organizations[0]"),
            ("organizations[0].applications[0].keys[1].hash: ", "is not a SHA-256"),
            ("providers[0].kind: ", "did you mean `vllm`?"),
            ("providers[0].base_urls[0]: ", "unknown scheme"),
            ("providers[1]: ", "lacks `id`"),
            ("providers[1].timeouts.connect: ", "is a number"),
            ("providers[1].timeouts.idle: ", "is 0s; write 1ms or more"),
            ("models[0].targets: ", "weight 0"),
            ("models[0].targets[0].provider: ", "`nowhere` is no provider here; write one of: gpu"),
            ("models[0].max_attempts: ", "is 99; write a whole number from 1 to 20"),
            ("routes[0].model: ", "`zz` is no model here; write one of: m"),
            ("routes[0].anonymous_as: ", "write one of: acme"),
            ("telemetry.level: ", "is not a log level"),
        ],
    );
}
