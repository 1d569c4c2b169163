//! Cross-origin requests from browsers (Fetch, "HTTP-CORS protocol"): which answer headers an origin gets.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::config::Cors;

/// Longest list of header names that a preflight is granted.
const MAX_REQUESTED: usize = 2048;
const METHODS: &str = "GET, POST, OPTIONS";
/// What a page may read of an answer besides the safelisted headers.
const EXPOSED: &str = "x-request-id, request-id, retry-after, x-should-retry, x-ratelimit-limit-requests, \
                       x-ratelimit-remaining-requests, x-ratelimit-reset-requests, x-ratelimit-limit-tokens, \
                       x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens, x-tollgate-provider, x-tollgate-model, \
                       x-tollgate-cost-usd, x-tollgate-overhead-us";

/// What CORS does with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Not a cross-origin request, or CORS is not configured: go on, nothing to add.
    Untouched,
    /// Go on, and add these headers to whatever the answer will be.
    Decorate(Vec<(HeaderName, HeaderValue)>),
    /// A preflight of an allowed origin: answer 204 with these headers, ask for no credential.
    Preflight(Vec<(HeaderName, HeaderValue)>),
    /// A preflight of another origin: answer 403 without any of them; the browser then never sends the request.
    Refuse,
}

/// Decides by the listener's `cors`. `credentials`: whether the `jwt` cookie is read, which only a listed origin may send.
pub fn decide(cors: Option<&Cors>, credentials: bool, method: &Method, headers: &HeaderMap) -> Decision {
    let (Some(cors), Some(origin)) = (cors, headers.get(ORIGIN)) else { return Decision::Untouched };
    let requested = headers.get(ACCESS_CONTROL_REQUEST_METHOD);
    let is_preflight = method == Method::OPTIONS && requested.is_some();
    let Some(mut answer) = grant(cors, credentials, origin) else {
        // A cache must not hand this answer to an origin that would be allowed.
        let varies = vec![(VARY, HeaderValue::from_static("origin"))];
        return if is_preflight { Decision::Refuse } else { Decision::Decorate(varies) };
    };
    if !is_preflight {
        answer.push((ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED)));
        return Decision::Decorate(answer);
    }
    answer.push((ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS)));
    // SDKs send headers of their own (x-stainless-…) that grow with every version, and none of them is a secret to a page
    // that may call at all.
    match headers.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        Some(names) if !is_name_list(names) => return Decision::Refuse,
        Some(names) => answer.push((ACCESS_CONTROL_ALLOW_HEADERS, names.clone())),
        None => {}
    }
    answer.push((ACCESS_CONTROL_MAX_AGE, HeaderValue::from(cors.max_age.as_secs())));
    Decision::Preflight(answer)
}

fn grant(cors: &Cors, credentials: bool, origin: &HeaderValue) -> Option<Vec<(HeaderName, HeaderValue)>> {
    let is_listed = origin
        .to_str()
        .is_ok_and(|origin| origin != "*" && cors.origins.iter().any(|listed| listed == origin));
    if is_listed {
        let mut answer =
            vec![(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone()), (VARY, HeaderValue::from_static("origin"))];
        if credentials {
            answer.push((ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true")));
        }
        return Some(answer);
    }
    let any = cors.origins.iter().any(|listed| listed == "*");
    any.then(|| vec![(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"))])
}

/// Header names and commas, nothing that could mean something else in the answer.
fn is_name_list(names: &HeaderValue) -> bool {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_, ".contains(byte);
    names.len() <= MAX_REQUESTED && names.as_bytes().iter().all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn decision(
        origins: &[&str],
        credentials: bool,
        method: &Method,
        lines: &[(&'static str, &str)],
    ) -> String {
        let cors = Cors {
            origins: origins.iter().map(|origin| (*origin).to_owned()).collect(),
            max_age: Duration::from_secs(600),
        };
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().expect("a header value"));
        }
        let cors = (!origins.is_empty()).then_some(&cors);
        let show = |headers: Vec<(HeaderName, HeaderValue)>| {
            let mut lines: Vec<String> = headers
                .iter()
                .filter(|(name, _)| *name != ACCESS_CONTROL_EXPOSE_HEADERS)
                .map(|(name, value)| {
                    let name = name.as_str().trim_start_matches("access-control-");
                    format!("{name}={}", value.to_str().expect("text"))
                })
                .collect();
            lines.sort();
            lines.join(";")
        };
        match decide(cors, credentials, method, &headers) {
            Decision::Untouched => "untouched".into(),
            Decision::Refuse => "refuse".into(),
            Decision::Decorate(headers) => format!("decorate {}", show(headers)),
            Decision::Preflight(headers) => format!("preflight {}", show(headers)),
        }
    }

    #[test]
    fn decisions() {
        const APP: (&str, &str) = ("origin", "https://app.example");
        const EVIL: (&str, &str) = ("origin", "https://app.example.evil");
        const ASK: (&str, &str) = ("access-control-request-method", "POST");
        const NAMES: (&str, &str) = ("access-control-request-headers", "authorization,x-stainless-os");
        let listed = ["https://app.example"];
        let check = |origins: &[&str], method: &Method, lines: &[(&'static str, &str)], expect: &str| {
            assert_eq!(decision(origins, false, method, lines), expect, "{origins:?} {lines:?}");
        };
        check(&[], &Method::POST, &[APP], "untouched");
        check(&listed, &Method::POST, &[], "untouched");
        check(&listed, &Method::OPTIONS, &[ASK], "untouched");
        check(&listed, &Method::POST, &[APP], "decorate allow-origin=https://app.example;vary=origin");
        check(&listed, &Method::POST, &[EVIL], "decorate vary=origin");
        check(&listed, &Method::POST, &[("origin", "null")], "decorate vary=origin");
        check(&listed, &Method::OPTIONS, &[APP], "decorate allow-origin=https://app.example;vary=origin");
        check(&listed, &Method::OPTIONS, &[EVIL, ASK], "refuse");
        check(&["*"], &Method::POST, &[EVIL], "decorate allow-origin=*");
        check(&["*"], &Method::POST, &[("origin", "*")], "decorate allow-origin=*");
        check(
            &listed,
            &Method::OPTIONS,
            &[APP, ASK, NAMES],
            "preflight allow-headers=authorization,x-stainless-os;allow-methods=GET, POST, OPTIONS;\
             allow-origin=https://app.example;max-age=600;vary=origin",
        );
        let odd = ("access-control-request-headers", "a;b");
        check(&listed, &Method::OPTIONS, &[APP, ASK, odd], "refuse");
        let long = "x".repeat(MAX_REQUESTED + 1);
        check(&listed, &Method::OPTIONS, &[APP, ASK, ("access-control-request-headers", &long)], "refuse");
    }

    #[test]
    fn credentials_only_for_a_listed_origin() {
        let app = [("origin", "https://app.example")];
        let found = decision(&["*", "https://app.example"], true, &Method::POST, &app);
        assert_eq!(found, "decorate allow-credentials=true;allow-origin=https://app.example;vary=origin");
        assert_eq!(decision(&["*"], true, &Method::POST, &app), "decorate allow-origin=*");
    }
}
