//! What authentication costs. Measured, not asserted: `cargo test --release -p tollgate-proxy --lib -- --ignored auth_cost --nocapture`.

use std::hint::black_box;
use std::time::Instant;

use serde_json::json;

use super::signer::{Signer, key_set};
use super::*;

/// Best of five rounds, in nanoseconds per call.
fn per_call(rounds: u32, mut call: impl FnMut()) -> u128 {
    let round = |_| {
        let start = Instant::now();
        (0..rounds).for_each(|_| call());
        start.elapsed().as_nanos() / u128::from(rounds)
    };
    (0..5).map(round).min().unwrap_or_default()
}

#[test]
#[ignore = "measures"]
fn auth_cost_of_keys() {
    for count in [10, 10_000] {
        let secret = |number: usize| key::compose("", &[u8::try_from(number % 256).expect("a byte"); 32]);
        let keys = (0..count).map(|number| {
            let text = secret(number);
            let sha256 = key::sha256(text.rsplit('_').next().expect("a secret"));
            api_key(&format!("k{number}"), KeySecret::Generated { sha256 })
        });
        let directory = Directory::new(&tenants(keys.collect()), &auth_of(Vec::new()), HashMap::new());
        let known = key::compose("k7", &[7; 32]);
        let unknown = key::compose("nobody", &[7; 32]);
        assert!(directory.by_key(&known).is_ok());
        let hit = per_call(100_000, || drop(black_box(directory.by_key(black_box(&known)))));
        let miss = per_call(100_000, || drop(black_box(directory.by_key(black_box(&unknown)))));
        println!("{count} keys: known {hit} ns, unknown id {miss} ns");
    }
}

#[test]
#[ignore = "measures"]
fn auth_cost_of_tokens() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let authenticator = Authenticator::new(runtime.handle().clone());
    let now = SystemTime::now();
    let exp = now.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs() + 3000;
    for signer in [Signer::rsa(Algorithm::RS256, "k"), Signer::ec("k"), Signer::ed("k")] {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), key_set(&[signer.jwk()])).expect("written");
        let entry = entry(ISSUER, KeySource::File(file.path().to_owned()));
        let directory =
            authenticator.directory_of(&tenants(Vec::new()), &auth_of(vec![entry])).expect("a directory");
        let claims = |number: u64, pad: usize| {
            json!({
                "iss": ISSUER, "aud": "gate", "exp": exp, "iat": exp - 3600, "sub": format!("user-{number}"),
                "email": "someone@example.com", "email_verified": true, "custom:orgId": "acme", "custom:appId": "chat",
                "custom:userRole": "developer", "pad": "x".repeat(pad),
            })
        };
        let call = |headers: &HeaderMap| {
            let future = authenticator.authenticate(&directory, Head::from(headers), now);
            futures::FutureExt::now_or_never(future).expect("no wait").expect("a good token")
        };
        for pad in [0, 600] {
            let seen = bearer(&signer.sign(&claims(0, pad)));
            let cached = per_call(100_000, || drop(black_box(call(black_box(&seen)))));
            let fresh: Vec<HeaderMap> = (1..=2_000).map(|n| bearer(&signer.sign(&claims(n, pad)))).collect();
            let start = Instant::now();
            fresh.iter().for_each(|headers| drop(black_box(call(headers))));
            let first = start.elapsed().as_nanos() / 2_000;
            let bytes = seen[http::header::AUTHORIZATION].len() - 7;
            println!(
                "{bytes}-byte token, {}: already seen {cached} ns, first seen {first} ns",
                signer.header()["alg"]
            );
        }
    }
}
