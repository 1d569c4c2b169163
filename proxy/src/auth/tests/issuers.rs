//! Keys that come from an issuer: discovery, rotation, floods, failures.

use serde_json::{Value, json};

use super::fake_issuer::FakeIssuer;
use super::signer::{Signer, key_set};
use super::*;

const KEYS: &str = "/keys";
const DISCOVERY: &str = "/.well-known/openid-configuration";

fn from_uri(issuer: &FakeIssuer) -> JwtIssuer {
    entry(ISSUER, KeySource::Uri(format!("{}{KEYS}", issuer.url)))
}

fn claims(iss: &str) -> Value {
    let exp = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs() + 600;
    json!({"iss": iss, "aud": "gate", "exp": exp, "sub": "u1"})
}

fn directory(authenticator: &Authenticator, entry: JwtIssuer) -> Directory {
    authenticator.directory_of(&tenants(Vec::new()), &auth_of(vec![entry])).expect("a directory")
}

async fn call(authenticator: &Authenticator, directory: &Directory, token: &str) -> Result<(), Code> {
    authenticator.bearer(directory, token, SystemTime::now()).await.map(drop).map_err(|e| e.code)
}

/// Waits for something that a task in the background does.
async fn until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn discovery_leads_to_the_keys() {
    let (issuer, signer, authenticator) = (FakeIssuer::start().await, Signer::ec("e"), authenticator());
    let iss = issuer.url.clone();
    issuer.serve(DISCOVERY, 200, json!({"issuer": iss, "jwks_uri": format!("{iss}{KEYS}")}).to_string());
    issuer.serve(KEYS, 200, key_set(&[signer.jwk()]));
    let directory = directory(&authenticator, entry(&iss, KeySource::Discovery));
    let token = signer.sign(&claims(&iss));
    assert_eq!(
        call(&authenticator, &directory, &token).await,
        Ok(()),
        "the first request waits for the keys"
    );
    assert_eq!((issuer.asked(DISCOVERY), issuer.asked(KEYS)), (1, 1));
    let status = authenticator.key_status(&directory);
    assert!(status[0].usable && status[0].keys == 1 && status[0].error.is_none(), "{status:?}");
}

#[tokio::test]
async fn documents_that_are_not_believed() {
    let signer = Signer::ec("e");
    let good = key_set(&[signer.jwk()]);
    let big = format!("{good}{}", " ".repeat(1024 * 1024));
    let many = key_set(&vec![signer.jwk(); 101]);
    let elsewhere =
        json!({"issuer": "https://evil.example", "jwks_uri": "https://evil.example/keys"}).to_string();
    let insecure = |iss: &str| json!({"issuer": iss, "jwks_uri": "http://keys.example/keys"}).to_string();
    for case in 0..7 {
        let (issuer, authenticator) = (FakeIssuer::start().await, authenticator());
        let iss = issuer.url.clone();
        match case {
            0 => issuer.serve(KEYS, 200, big.clone()),
            1 => issuer.serve(KEYS, 200, many.clone()),
            2 => issuer.serve(KEYS, 500, good.clone()),
            3 => {
                issuer.serve(KEYS, 302, good.clone());
                issuer.serve("/elsewhere", 200, good.clone());
            }
            4 => issuer.serve(KEYS, 200, "<html>"),
            5 => issuer.serve(DISCOVERY, 200, elsewhere.clone()),
            _ => issuer.serve(DISCOVERY, 200, insecure(&iss)),
        }
        let entry = if case < 5 { from_uri(&issuer) } else { entry(&iss, KeySource::Discovery) };
        let name = entry.issuer.clone();
        let directory = directory(&authenticator, entry);
        let found = call(&authenticator, &directory, &signer.sign(&claims(&name))).await;
        assert_eq!(found, Err(Code::Overloaded), "case {case}: not the caller's fault");
        assert_eq!(issuer.asked("/elsewhere"), 0, "redirects are not followed");
        let status = authenticator.key_status(&directory);
        assert!(!status[0].usable && status[0].error.is_some(), "case {case}: {status:?}");
    }
}

#[tokio::test]
async fn first_requests_share_one_fetch() {
    let (issuer, signer) = (FakeIssuer::start().await, Signer::ec("e"));
    let authenticator = Arc::new(authenticator());
    issuer.serve(KEYS, 200, key_set(&[signer.jwk()]));
    issuer.close_gate();
    let directory = Arc::new(directory(&authenticator, from_uri(&issuer)));
    let calls: Vec<_> = (0..50)
        .map(|user| {
            let token = signer.sign(&{
                let mut claims = claims(ISSUER);
                claims["sub"] = format!("u{user}").into();
                claims
            });
            let (authenticator, directory) = (authenticator.clone(), directory.clone());
            tokio::spawn(async move { call(&authenticator, &directory, &token).await })
        })
        .collect();
    until(|| issuer.asked(KEYS) == 1).await;
    issuer.open_gate();
    for call in calls {
        assert_eq!(call.await.expect("no panic"), Ok(()));
    }
    assert_eq!(issuer.asked(KEYS), 1);
}

#[tokio::test]
async fn an_unknown_kid_fetches_once_and_a_flood_of_them_does_not() {
    let (issuer, old, new) = (FakeIssuer::start().await, Signer::ec("old"), Signer::ec("new"));
    let authenticator = Arc::new(authenticator());
    issuer.serve(KEYS, 200, key_set(&[old.jwk()]));
    let directory =
        Arc::new(directory(&authenticator, JwtIssuer { min_refresh: Duration::ZERO, ..from_uri(&issuer) }));
    assert_eq!(call(&authenticator, &directory, &old.sign(&claims(ISSUER))).await, Ok(()));
    let generation = authenticator.key_status(&directory)[0].generation;

    // Rotation: the new key is met before the next refresh.
    issuer.serve(KEYS, 200, key_set(&[old.jwk(), new.jwk()]));
    assert_eq!(call(&authenticator, &directory, &new.sign(&claims(ISSUER))).await, Ok(()));
    assert_eq!(issuer.asked(KEYS), 2);
    assert!(authenticator.key_status(&directory)[0].generation > generation);

    // Within min_refresh made-up kids cost the issuer nothing. The reload keeps the keys and changes the pace.
    let slow = Arc::new(self::directory(&authenticator, from_uri(&issuer)));
    assert_eq!(call(&authenticator, &slow, &old.sign(&claims(ISSUER))).await, Ok(()));
    for _ in 0..20 {
        let made_up = Signer::ec("made up").sign(&claims(ISSUER));
        assert_eq!(call(&authenticator, &slow, &made_up).await, Err(Code::InvalidToken));
    }
    assert_eq!(issuer.asked(KEYS), 2);

    // All that ask while one fetch runs share it.
    let _fast =
        self::directory(&authenticator, JwtIssuer { min_refresh: Duration::ZERO, ..from_uri(&issuer) });
    issuer.close_gate();
    let calls: Vec<_> = (0..50)
        .map(|_| {
            let token = Signer::ec("made up").sign(&claims(ISSUER));
            let (authenticator, directory) = (authenticator.clone(), directory.clone());
            tokio::spawn(async move { call(&authenticator, &directory, &token).await })
        })
        .collect();
    until(|| issuer.asked(KEYS) == 3).await;
    issuer.open_gate();
    for call in calls {
        assert_eq!(call.await.expect("no panic"), Err(Code::InvalidToken));
    }
    // Those that had not yet looked when it ended may have asked once more, never each.
    assert!(issuer.asked(KEYS) <= 4, "{}", issuer.asked(KEYS));
}

#[tokio::test]
async fn a_request_that_goes_away_cancels_no_fetch() {
    let (issuer, old, new) = (FakeIssuer::start().await, Signer::ec("old"), Signer::ec("new"));
    let authenticator = authenticator();
    issuer.serve(KEYS, 200, key_set(&[old.jwk()]));
    let directory = directory(&authenticator, JwtIssuer { min_refresh: Duration::ZERO, ..from_uri(&issuer) });
    assert_eq!(call(&authenticator, &directory, &old.sign(&claims(ISSUER))).await, Ok(()));
    issuer.serve(KEYS, 200, key_set(&[new.jwk()]));
    issuer.close_gate();
    let token = new.sign(&claims(ISSUER));
    tokio::select! {
        _ = call(&authenticator, &directory, &token) => panic!("the gate is closed"),
        () = until(|| issuer.asked(KEYS) == 2) => {}
    }
    issuer.open_gate();
    until(|| authenticator.key_status(&directory)[0].generation == 2).await;
}

#[tokio::test]
async fn keys_outlive_their_issuer_for_a_while() {
    let (issuer, signer, authenticator) = (FakeIssuer::start().await, Signer::ec("e"), authenticator());
    issuer.serve(KEYS, 200, key_set(&[signer.jwk()]));
    let lasting = JwtIssuer { refresh: Duration::from_millis(1), ..from_uri(&issuer) };
    let directory = directory(&authenticator, lasting.clone());
    let token = signer.sign(&claims(ISSUER));
    assert_eq!(call(&authenticator, &directory, &token).await, Ok(()));
    issuer.serve(KEYS, 500, "");
    until(|| authenticator.key_status(&directory)[0].error.is_some()).await;
    assert_eq!(call(&authenticator, &directory, &token).await, Ok(()), "stale, but not too stale");
    assert_eq!(call(&authenticator, &directory, &signer.sign(&claims(ISSUER))).await, Ok(()));

    // Past max_stale nothing counts, verified before or not; and it is not the caller's fault.
    let _shorter = self::directory(&authenticator, JwtIssuer { max_stale: Duration::ZERO, ..lasting });
    until(|| !authenticator.key_status(&directory)[0].usable).await;
    assert_eq!(call(&authenticator, &directory, &token).await, Err(Code::Overloaded));

    // It comes back by itself.
    issuer.serve(KEYS, 200, key_set(&[signer.jwk()]));
    until(|| authenticator.key_status(&directory)[0].error.is_none()).await;
}

#[tokio::test]
async fn reload_keeps_keys_and_ends_what_nobody_uses() {
    let (issuer, signer, authenticator) = (FakeIssuer::start().await, Signer::ec("e"), authenticator());
    issuer.serve(KEYS, 200, key_set(&[signer.jwk()]));
    let first = directory(&authenticator, from_uri(&issuer));
    let token = signer.sign(&claims(ISSUER));
    assert_eq!(call(&authenticator, &first, &token).await, Ok(()));
    let second = directory(&authenticator, from_uri(&issuer));
    drop(first);
    assert_eq!(call(&authenticator, &second, &token).await, Ok(()));
    assert_eq!(issuer.asked(KEYS), 1, "the second directory took over the keys");
    let keys = Arc::downgrade(&authenticator.keys(&from_uri(&issuer)));
    drop(second);
    until(|| keys.strong_count() == 0).await;
    let third = directory(&authenticator, from_uri(&issuer));
    assert_eq!(call(&authenticator, &third, &token).await, Ok(()));
    assert!(authenticator.key_status(&third)[0].generation > 1, "a generation is never used twice");
}

#[tokio::test]
async fn a_file_is_reloaded_by_itself() {
    let (old, new, authenticator) = (Signer::ec("old"), Signer::ec("new"), authenticator());
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), key_set(&[old.jwk()])).expect("written");
    let mut entry = entry(ISSUER, KeySource::File(file.path().to_owned()));
    entry.refresh = Duration::from_millis(5);
    let directory = directory(&authenticator, entry);
    assert_eq!(call(&authenticator, &directory, &old.sign(&claims(ISSUER))).await, Ok(()));
    std::fs::write(file.path(), key_set(&[new.jwk()])).expect("written");
    until(|| authenticator.key_status(&directory)[0].generation == 2).await;
    assert_eq!(call(&authenticator, &directory, &new.sign(&claims(ISSUER))).await, Ok(()));
    assert_eq!(call(&authenticator, &directory, &old.sign(&claims(ISSUER))).await, Err(Code::InvalidToken));
}
