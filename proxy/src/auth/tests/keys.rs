use super::*;

const CHOSEN: &str = "an-operators-own-key-of-30-chars";

fn directory() -> Directory {
    let generated = |id: &str, secret| api_key(id, KeySecret::Generated { sha256: key::sha256(secret) });
    let keys = vec![
        generated("dev", "aaaa"),
        generated("team_a", "bbbb"),
        ApiKey { disabled: true, ..generated("old", "cccc") },
        ApiKey { models: Some(vec!["small".into()]), ..generated("narrow", "dddd") },
        api_key("own", KeySecret::Chosen { sha256: key::sha256(CHOSEN) }),
    ];
    Directory::new(&tenants(keys), &auth_of(Vec::new()), HashMap::new())
}

#[test]
fn found_by_id_or_by_hash() {
    let directory = directory();
    let check = |key: &str, expect: Option<&str>| {
        let found = directory.by_key(key);
        let id = found.as_ref().ok().and_then(|caller| caller.key_id.as_deref());
        assert_eq!(id, expect, "{key}");
        if let Err(rejection) = &found {
            assert_eq!(rejection.code, Code::InvalidApiKey);
            assert!(key.is_empty() || !rejection.message.contains(key));
        }
    };
    check("tg_dev_aaaa", Some("dev"));
    check("tg_team_a_bbbb", Some("team_a"));
    check(CHOSEN, Some("own"));
    check("tg_dev_bbbb", None);
    check("tg_dev_aaa", None);
    check("tg_dev_aaaaa", None);
    check("tg_Dev_aaaa", None);
    check("tg_nobody_aaaa", None);
    check("tg_old_cccc", None);
    check("tg_dev", None);
    check("tg_own_an-operators-own-key-of-30-chars", None);
    check("dev", None);
    check("aaaa", None);
    check("", None);
    check(&CHOSEN[1..], None);
    check(&format!("tg_dev_{}", "a".repeat(10_000)), None);
    // The hash itself opens nothing.
    let hash: String = key::sha256(CHOSEN).iter().map(|byte| format!("{byte:02x}")).collect();
    check(&hash, None);
}

#[test]
fn a_disabled_key_is_told_so_only_to_its_bearer() {
    let directory = directory();
    let message = |key| directory.by_key(key).expect_err("refused").message;
    assert!(message("tg_old_cccc").contains("disabled"));
    assert_eq!(message("tg_old_cccd"), message("tg_nobody_cccc"));
}

#[test]
fn the_record_makes_the_caller() {
    let caller = directory().by_key("tg_dev_aaaa").expect("a known key");
    assert_eq!((&*caller.organization, &*caller.application), ("acme", "chat"));
    assert_eq!(caller.source.as_deref(), Some("cli"));
    assert_eq!(caller.role, Role::Developer);
}

#[test]
fn models_narrow_by_application_and_key() {
    let directory = directory();
    let caller = |key| directory.by_key(key).expect("a known key");
    assert!(directory.allows(&caller("tg_dev_aaaa"), "anything"));
    assert!(directory.allows(&caller("tg_narrow_dddd"), "small"));
    assert!(!directory.allows(&caller("tg_narrow_dddd"), "large"));
    let batch = Caller { application: "batch".into(), key_id: None, ..caller("tg_dev_aaaa") };
    assert!(directory.allows(&batch, "gpt-4o-mini"));
    assert!(!directory.allows(&batch, "large"));
}

#[test]
fn anonymous_only_without_any_credential() {
    let directory = directory();
    let nothing = HeaderMap::new();
    let caller = directory.anonymous("acme", Head::from(&nothing)).expect("an organization we know");
    assert_eq!((&*caller.organization, &*caller.application), ("acme", ANONYMOUS));
    assert!(directory.anonymous("nobody", Head::from(&nothing)).is_none());
    let mistyped = bearer("tg_dev_aaab");
    assert!(directory.anonymous("acme", Head::from(&mistyped)).is_none());
}

#[tokio::test]
async fn no_credential_is_a_401_that_says_what_to_send() {
    let rejection = authenticator()
        .authenticate(&directory(), Head::from(&HeaderMap::new()), SystemTime::now())
        .await
        .expect_err("refused");
    assert_eq!(rejection.code, Code::InvalidApiKey);
    assert!(rejection.message.contains("Authorization: Bearer"));
}
