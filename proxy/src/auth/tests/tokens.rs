//! Which tokens count, with the issuer's keys in a file.

use std::time::UNIX_EPOCH;

use serde_json::{Value, json};

use super::signer::{Signer, key_set, unsigned};
use super::*;

const NOW: u64 = 1_800_000_000;

struct World {
    rsa: Signer,
    ec: Signer,
    ed: Signer,
    file: tempfile::NamedTempFile,
    authenticator: Authenticator,
}

impl World {
    fn new() -> Self {
        let (rsa, ec, ed) = (Signer::rsa(Algorithm::RS256, "r"), Signer::ec("e"), Signer::ed("d"));
        let file = tempfile::NamedTempFile::new().expect("a file");
        let keys = [without(rsa.jwk(), "alg"), ec.jwk(), ed.jwk()];
        std::fs::write(file.path(), key_set(&keys)).expect("written");
        World { rsa, ec, ed, file, authenticator: authenticator() }
    }

    fn entry(&self) -> JwtIssuer {
        entry(ISSUER, KeySource::File(self.file.path().to_owned()))
    }

    fn directory(&self, entry: JwtIssuer) -> Directory {
        self.authenticator.directory_of(&tenants(Vec::new()), &auth_of(vec![entry])).expect("a good key file")
    }

    async fn check(&self, directory: &Directory, what: &str, token: &str, expect: Result<(), Code>) {
        let found = self.authenticator.bearer(directory, token, UNIX_EPOCH + seconds(NOW)).await;
        assert_eq!(found.as_ref().map(drop).map_err(|e| e.code), expect, "{what}: {found:?}");
    }
}

fn claims() -> Value {
    json!({"iss": ISSUER, "aud": "gate", "exp": NOW + 600, "sub": "u1"})
}

fn with(mut object: Value, name: &str, value: impl Into<Value>) -> Value {
    object[name] = value.into();
    object
}

fn without(mut object: Value, name: &str) -> Value {
    object.as_object_mut().expect("an object").remove(name);
    object
}

const INVALID: Result<(), Code> = Err(Code::InvalidToken);

#[tokio::test]
async fn every_kind_of_key_signs() {
    let world = World::new();
    let directory = world.directory(world.entry());
    for signer in [&world.rsa, &world.rsa.with_algorithm(Algorithm::PS256), &world.ec, &world.ed] {
        world.check(&directory, "good", &signer.sign(&claims()), Ok(())).await;
    }
    let not_listed = world.rsa.with_algorithm(Algorithm::RS512);
    world.check(&directory, "RS512 is not configured", &not_listed.sign(&claims()), INVALID).await;
    let token = world.rsa.sign(&claims());
    let caller =
        world.authenticator.bearer(&directory, &token, UNIX_EPOCH + seconds(NOW)).await.expect("good");
    assert_eq!(caller.user.as_deref(), Some("u1"));
    assert_eq!(caller.key_id, None);
}

#[tokio::test]
async fn claims_are_checked() {
    let world = World::new();
    let directory = world.directory(world.entry());
    let expired = Err(Code::TokenExpired);
    let good: Result<(), Code> = Ok(());
    let table = [
        ("several audiences", with(claims(), "aud", json!(["x", "gate-2"])), good),
        ("wrong audience", with(claims(), "aud", "x"), INVALID),
        ("wrong audiences", with(claims(), "aud", json!(["x", 7])), INVALID),
        ("odd audience", with(claims(), "aud", json!({"gate": 1})), INVALID),
        ("null audience", with(claims(), "aud", Value::Null), INVALID),
        ("no audience", without(claims(), "aud"), INVALID),
        ("other issuer", with(claims(), "iss", "https://evil.example/"), INVALID),
        ("almost the issuer", with(claims(), "iss", "https://idp.example"), INVALID),
        ("issuers", with(claims(), "iss", json!([ISSUER])), INVALID),
        ("no issuer", without(claims(), "iss"), INVALID),
        ("no expiry", without(claims(), "exp"), INVALID),
        ("expiry as text", with(claims(), "exp", "1900000000"), INVALID),
        ("negative expiry", with(claims(), "exp", -1), INVALID),
        ("endless", with(claims(), "exp", 1e300), INVALID),
        ("very late", with(claims(), "exp", u64::MAX), INVALID),
        ("fraction", with(claims(), "exp", NOW as f64 + 0.5), good),
        ("expired", with(claims(), "exp", NOW - 11), expired),
        ("expired now", with(claims(), "exp", NOW - 10), expired),
        ("within the leeway", with(claims(), "exp", NOW - 9), good),
        ("not yet", with(claims(), "nbf", NOW + 11), INVALID),
        ("soon enough", with(claims(), "nbf", NOW + 10), good),
        ("nbf as text", with(claims(), "nbf", "0"), INVALID),
        ("known organization", with(claims(), "custom:orgId", "other"), good),
        ("unknown organization", with(claims(), "custom:orgId", "nobody"), INVALID),
        ("unknown application", with(claims(), "custom:appId", "nobody"), INVALID),
        ("no role for this", with(claims(), "custom:userRole", "guest"), Err(Code::ForbiddenRole)),
    ];
    for (what, claims, expect) in table {
        world.check(&directory, what, &world.rsa.sign(&claims), expect).await;
    }
}

#[tokio::test]
async fn an_issuer_speaks_for_its_own_organizations_only() {
    let world = World::new();
    let bound = JwtIssuer { organizations: Some(vec!["acme".into()]), ..world.entry() };
    let directory = world.directory(bound);
    let table = [
        ("its own", with(claims(), "custom:orgId", "acme"), Ok(())),
        ("another's", with(claims(), "custom:orgId", "other"), INVALID),
        ("nobody's", with(claims(), "custom:orgId", "nobody"), INVALID),
    ];
    for (what, claims, expect) in table {
        world.check(&directory, what, &world.rsa.sign(&claims), expect).await;
    }
}

#[tokio::test]
async fn cognito_access_tokens() {
    let world = World::new();
    let access = with(with(without(claims(), "aud"), "client_id", "gate"), "token_use", "access");
    let id = with(claims(), "token_use", "id");
    let table = [
        (&[][..], &access, Ok(())),
        (&[], &id, Ok(())),
        (&["access"], &access, Ok(())),
        (&["access"], &id, INVALID),
        (&["id"], &access, INVALID),
        (&["access"], &claims(), INVALID),
    ]
    .map(|(uses, claims, expect)| (uses, claims.clone(), expect));
    let more = [
        (&[][..], with(access.clone(), "client_id", "someone"), INVALID),
        (&[], with(access.clone(), "token_use", "id"), INVALID),
        (&[], without(access.clone(), "token_use"), INVALID),
        (&[], with(access.clone(), "aud", "someone"), INVALID),
    ];
    for (uses, claims, expect) in table.into_iter().chain(more) {
        let token_use = uses.iter().map(|name: &&str| (*name).to_owned()).collect();
        let directory = world.directory(JwtIssuer { token_use, ..world.entry() });
        world.check(&directory, &format!("{uses:?} {claims}"), &world.rsa.sign(&claims), expect).await;
    }
}

#[tokio::test]
async fn typ_is_checked_where_configured() {
    let world = World::new();
    let strict = world.directory(JwtIssuer { typ: vec!["at+jwt".into()], ..world.entry() });
    let payload = claims().to_string();
    for (typ, expect) in [
        (json!("at+jwt"), Ok(())),
        (json!("application/AT+JWT"), Ok(())),
        (json!("JWT"), INVALID),
        (json!(""), INVALID),
        (Value::Null, INVALID),
    ] {
        let token = world.rsa.sign_with(&with(world.rsa.header(), "typ", typ.clone()), payload.as_bytes());
        world.check(&strict, &typ.to_string(), &token, expect).await;
    }
}

#[tokio::test]
async fn attacks() {
    let world = World::new();
    let directory = world.directory(world.entry());
    let stranger = Signer::rsa(Algorithm::RS256, "r");
    let payload = claims().to_string();
    let payload = payload.as_bytes();
    let header = world.rsa.header();
    let none = unsigned(&with(header.clone(), "alg", "none"), payload);
    let hmac = unsigned(&with(header.clone(), "alg", "HS256"), payload);
    let modulus = world.rsa.jwk()["n"].as_str().expect("a modulus").to_owned();
    let hmac_signature = jsonwebtoken::crypto::sign(
        hmac.as_bytes(),
        &jsonwebtoken::EncodingKey::from_secret(modulus.as_bytes()),
        Algorithm::HS256,
    )
    .expect("a signature");
    let good = world.rsa.sign(&claims());
    let (signed, signature) = good.rsplit_once('.').expect("three parts");
    let other_payload = unsigned(&header, with(claims(), "sub", "root").to_string().as_bytes());
    let long = with(claims(), "pad", "x".repeat(MAX_TOKEN));
    let header_with =
        |name: &str, value: Value| world.rsa.sign_with(&with(header.clone(), name, value), payload);
    let doubled = r#"{"iss":"https://idp.example/","aud":"gate","exp":1800000600,"sub":"a","sub":"b"}"#;
    let table = [
        ("none", format!("{none}.")),
        ("none with a signature", format!("{none}.{signature}")),
        ("None", format!("{}.", unsigned(&with(header.clone(), "alg", "None"), payload))),
        ("HS256 with the public key", format!("{hmac}.{hmac_signature}")),
        ("someone else's key of that kid", stranger.sign(&claims())),
        ("no signature", format!("{signed}.")),
        ("other payload", format!("{other_payload}.{signature}")),
        ("RS256 signature called PS256", {
            let message = unsigned(&with(header.clone(), "alg", "PS256"), payload);
            format!("{message}.{signature}")
        }),
        ("EC kid with RSA algorithm", header_with("kid", json!("e"))),
        ("RSA kid with EC algorithm", world.ec.sign_with(&with(world.ec.header(), "kid", "r"), payload)),
        ("ES256 called ES384", world.ec.sign_with(&with(world.ec.header(), "alg", "ES384"), payload)),
        ("kid as a path", header_with("kid", json!("../../../../dev/null"))),
        ("kid as SQL", header_with("kid", json!("r' OR '1'='1"))),
        ("kid as a URL", header_with("kid", json!("https://evil.example/jwks.json"))),
        ("huge kid", header_with("kid", json!("r".repeat(5_000)))),
        ("kid of another type", header_with("kid", json!(["r"]))),
        ("no kid, two keys fit no RSA but one", header_with("alg", json!("RS384"))),
        ("embedded jwk", stranger.sign_with(&with(stranger.header(), "jwk", stranger.jwk()), payload)),
        ("embedded jwk, good key", header_with("jwk", world.rsa.jwk())),
        ("jku", header_with("jku", json!("https://evil.example/jwks.json"))),
        ("x5u", header_with("x5u", json!("https://evil.example/cert.pem"))),
        ("x5c", header_with("x5c", json!(["MIIB"]))),
        ("crit", header_with("crit", json!(["b64"]))),
        ("huge", world.rsa.sign(&long)),
        ("not UTF-8", world.rsa.sign_with(&header, b"{\"iss\":\"https://idp.example/\",\"sub\":\"\xff\"}")),
        ("not an object", world.rsa.sign_with(&header, b"[1]")),
        ("trailing bytes", world.rsa.sign_with(&header, &[payload, b"x"].concat())),
        ("doubled claim", world.rsa.sign_with(&header, doubled.as_bytes())),
        ("deep", world.rsa.sign_with(&header, format!("{{\"a\":{}", "[".repeat(5_000)).as_bytes())),
        ("a nested token", world.rsa.sign_with(&header, good.as_bytes())),
        ("padded base64", format!("{signed}=.{signature}")),
        ("newline in base64", format!("{signed}.{}%0a", signature)),
        ("empty parts", "..".to_owned()),
        ("dots", "a.b.c".to_owned()),
    ];
    for (what, token) in table {
        world.check(&directory, what, &token, INVALID).await;
    }
    world.check(&directory, "and the good one is still good", &good, Ok(())).await;
}

#[tokio::test]
async fn bytes_never_panic() {
    let world = World::new();
    let directory = world.directory(world.entry());
    let good = world.ec.sign(&claims());
    for cut in 0..good.len() {
        let mut bytes = good.clone().into_bytes();
        bytes[cut] = if bytes[cut] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).expect("ASCII");
        let now = UNIX_EPOCH + seconds(NOW);
        assert!(world.authenticator.bearer(&directory, &changed, now).await.is_err(), "byte {cut} changed");
        let _ = world.authenticator.bearer(&directory, &good[..cut], now).await.expect_err("cut short");
    }
}

#[tokio::test]
async fn kid_may_be_absent_only_when_one_key_fits() {
    let world = World::new();
    let directory = world.directory(world.entry());
    let payload = claims().to_string();
    let token = world.rsa.sign_with(&without(world.rsa.header(), "kid"), payload.as_bytes());
    world.check(&directory, "one RSA key", &token, Ok(())).await;
    let second = Signer::rsa(Algorithm::RS256, "r2");
    std::fs::write(world.file.path(), key_set(&[world.rsa.jwk(), second.jwk()])).expect("written");
    let directory = world.directory(world.entry());
    world.check(&directory, "two RSA keys", &token, INVALID).await;
    world.check(&directory, "with kid", &second.sign(&claims()), Ok(())).await;
}

#[tokio::test]
async fn a_cached_token_is_not_good_for_longer_or_for_others() {
    let world = World::new();
    let start = UNIX_EPOCH + seconds(NOW);
    let directory = world.directory(world.entry());
    let token = world.rsa.sign(&with(claims(), "exp", NOW + 60));
    let call = |directory, at| world.authenticator.bearer(directory, &token, at);
    assert!(call(&directory, start).await.is_ok());
    let hash = *blake3::hash(token.as_bytes()).as_bytes();
    assert!(world.authenticator.cache.find(&hash).is_some(), "it entered");
    assert!(call(&directory, start + seconds(69)).await.is_ok());
    assert_eq!(call(&directory, start + seconds(70)).await.map_err(|e| e.code), Err(Code::TokenExpired));

    // Rules of a later configuration hold for tokens verified under an earlier one.
    let narrower = world.directory(JwtIssuer { audience: vec!["x".into()], ..world.entry() });
    assert!(call(&narrower, start).await.is_err());
    assert!(call(&directory, start).await.is_ok(), "requests in flight keep their own directory");

    // So do its tenants and mappings: the caller is never cached.
    let mut mapped = world.entry();
    mapped.claims.default_organization = Some("other".into());
    let mapped = world.directory(mapped);
    assert_eq!(&*call(&mapped, start).await.expect("good").organization, "other");
    let nobody =
        world.authenticator.directory_of(&[], &auth_of(vec![world.entry()])).expect("a good key file");
    assert!(call(&nobody, start).await.is_err());

    // And a key that is withdrawn takes its tokens with it.
    std::fs::write(world.file.path(), key_set(&[world.ec.jwk()])).expect("written");
    let rotated = world.directory(world.entry());
    assert_eq!(call(&rotated, start).await.map_err(|e| e.code), Err(Code::InvalidToken));
}

#[tokio::test]
async fn only_verified_tokens_enter_the_cache() {
    let world = World::new();
    let directory = world.directory(world.entry());
    let stranger = Signer::rsa(Algorithm::RS256, "r").sign(&claims());
    let expired = world.rsa.sign(&with(claims(), "exp", NOW - 100));
    for token in [stranger, expired] {
        let _ = world.authenticator.bearer(&directory, &token, UNIX_EPOCH + seconds(NOW)).await;
        let hash = *blake3::hash(token.as_bytes()).as_bytes();
        assert!(world.authenticator.cache.find(&hash).is_none());
    }
}

#[tokio::test]
async fn a_broken_key_file_is_a_configuration_error_and_changes_nothing() {
    let world = World::new();
    let directory = world.directory(world.entry());
    let token = world.rsa.sign(&claims());
    for bad in ["", "{}", r#"{"keys":[]}"#, r#"{"keys":[{"kty":"oct","k":"AAAA"}]}"#, "not json"] {
        std::fs::write(world.file.path(), bad).expect("written");
        let problems = world
            .authenticator
            .directory_of(&tenants(Vec::new()), &auth_of(vec![world.entry()]))
            .expect_err("a broken file");
        assert_eq!(problems[0].path.to_string(), "auth.jwt[0].jwks_file", "{bad}");
        world.check(&directory, bad, &token, Ok(())).await;
    }
    let missing = entry(ISSUER, KeySource::File("/nonexistent/keys.json".into()));
    assert!(world.authenticator.directory_of(&[], &auth_of(vec![missing])).is_err());
}

/// A token that was verified counts until it ends, and five minutes at most: then its signature is checked again.
#[tokio::test]
async fn what_was_verified_counts_for_five_minutes() {
    let world = World::new();
    let directory = world.directory(world.entry());
    for (lives, counts) in [(3600, 300), (120, 120 + 10)] {
        let token = world.ec.sign(&with(claims(), "exp", NOW + lives));
        world.check(&directory, "good", &token, Ok(())).await;
        let entry = world.authenticator.cache.find(blake3::hash(token.as_bytes()).as_bytes()).expect("kept");
        let until = |after| UNIX_EPOCH + seconds(NOW + after);
        assert_eq!(entry.until, until(counts), "a life of {lives} s"); // the leeway is 10 s
        assert!(still_good(&entry, &directory, until(counts - 1)).is_some());
        assert!(still_good(&entry, &directory, until(counts)).is_none());
    }
}
