//! Rules that are lists of terms, in a file of their own: SIGHUP reads it again, and no request sees half of two lists.

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tollgate_fake_upstream::{Fake, Options, Script};

use crate::guard::{ask, sent};
use crate::harness::{Events, Gateway, HEAD, ONE_UPSTREAM, chat, client};
use crate::leaks;
use crate::streams::CHAT;

const RULE: &str = "- {id: projects, kind: project, terms_file: projects.txt}\n";

/// A gateway that masks the terms of a file, and that file.
fn start(folder: &TempDir, terms: &str) -> (Fake, Gateway, PathBuf) {
    let (rules, list) = (folder.path().join("own.yaml"), folder.path().join("projects.txt"));
    std::fs::write(&rules, RULE).expect("written");
    std::fs::write(&list, terms).expect("written");
    let guard = format!(
        "guardrails: {{profile: strict, rules: [\"{}\"], overrides: [{{kind: project, action: mask}}]}}",
        rules.display()
    );
    let yaml = format!("{HEAD}{}", ONE_UPSTREAM.replace("guardrails: {profile: strict}", &guard));
    let fake = Fake::start(Options::default()).expect("the fake upstream starts");
    let gateway = Gateway::start(&yaml, &[("UPSTREAM", &fake.url())]);
    (fake, gateway, list)
}

fn change(gateway: &Gateway, list: &Path, terms: &[u8], generation: u64) {
    std::fs::write(list, terms).expect("written");
    gateway.signal("HUP");
    gateway.wait_generation(generation);
}

/// What the upstream got of a text.
async fn passed_on(fake: &Fake, gateway: &Gateway, text: &str) -> String {
    let (status, answer) = ask(gateway, CHAT, &chat("m", text, false)).await;
    assert_eq!(status, 200, "{answer}");
    sent(fake)["messages"][0]["content"].as_str().expect("a text").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_list_is_in_force_with_its_generation() {
    let folder = TempDir::new().expect("a folder");
    let (fake, gateway, list) = start(&folder, "Falcon Nine\nBlue Heron\n");
    const TEXT: &str = "Falcon Nine, blue heron and Grey Owl.";
    assert_eq!(passed_on(&fake, &gateway, TEXT).await, "[PROJECT_1], [PROJECT_2] and Grey Owl.");
    change(&gateway, &list, b"Falcon Nine\nGrey Owl\n", 2);
    assert_eq!(passed_on(&fake, &gateway, TEXT).await, "[PROJECT_1], blue heron and [PROJECT_2].");
    // The events tell the two apart.
    let version = |at: usize| gateway.events(2)[at]["versions"]["rules"].clone();
    assert!(version(0).is_string() && version(0) != version(1), "{:?}", gateway.events(2));
}

/// A stream is read by the list that its request began with, to its end.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_in_flight_keeps_its_list() {
    let folder = TempDir::new().expect("a folder");
    let (fake, gateway, list) = start(&folder, "Blue Heron\n");
    let says = ["First. ", "It is the Blue Her", "on and the Grey O", "wl, they say."];
    fake.script("m", Script::gated(says));
    let open = async || {
        let answer = client().post(gateway.url(CHAT)).json(&chat("m", "Which?", true)).send().await;
        Events::of(answer.expect("answered"))
    };
    let mut old = open().await;
    assert_eq!(old.text().await.as_deref(), Some("First. "));
    change(&gateway, &list, b"Grey Owl\n", 2);
    fake.gate("m").open_all();
    let mut new = open().await;
    for (stream, value, expect) in [
        (&mut old, "Blue Heron", "It is the [PROJECT_1] and the Grey Owl, they say."),
        (&mut new, "Grey Owl", "First. It is the Blue Heron and the [PROJECT_1], they say."),
    ] {
        let mut text = String::new();
        while let Some(piece) = stream.text().await {
            text.push_str(&piece);
        }
        assert_eq!(text, expect);
        leaks::assert_none(&stream.raw, value);
    }
}

/// A list that cannot be used changes nothing; what is said names the place, never the term.
#[tokio::test(flavor = "multi_thread")]
async fn a_broken_list_changes_nothing_and_says_where() {
    let folder = TempDir::new().expect("a folder");
    let (fake, gateway, list) = start(&folder, "Blue Heron\n");
    let long = "Grey Owl ".repeat(40);
    let broken: [(Vec<u8>, &str); 4] = [
        (format!("Grey Owl\n\n{long}\n").into_bytes(), "projects.txt:3: the term has"),
        (b"Grey Owl\nG\n".to_vec(), "projects.txt:2: the term has 1 characters"),
        (b"Grey Owl\n\xff\xfe\n".to_vec(), "projects.txt is not UTF-8"),
        (b"\n\n".to_vec(), "holds no terms"),
    ];
    for (refused, (bytes, why)) in (1u64..).zip(&broken) {
        std::fs::write(&list, bytes).expect("written");
        gateway.signal("HUP");
        gateway.wait_rejected(refused);
        let line = gateway.wait_log(why);
        assert!(line.contains("reload refused") && line.contains("projects"), "{line}");
        assert!(!line.contains("Owl"), "{line}");
        assert_eq!(gateway.metric("tollgate_config_generation", ""), 1.0);
        let sent = passed_on(&fake, &gateway, "Blue Heron or Grey Owl?").await;
        assert_eq!(sent, "[PROJECT_1] or Grey Owl?", "{why}");
    }
    std::fs::remove_file(&list).expect("removed");
    gateway.signal("HUP");
    gateway.wait_rejected(5);
    gateway.wait_log("cannot read");
    change(&gateway, &list, b"Grey Owl\n", 2);
    assert_eq!(passed_on(&fake, &gateway, "Blue Heron or Grey Owl?").await, "Blue Heron or [PROJECT_1]?");
}
