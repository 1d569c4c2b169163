//! Where a request carries its credential: `Authorization: Bearer`, `x-api-key`, or the cookie `jwt`.

use http::HeaderMap;
use http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, HOST, ORIGIN};
use tollgate_filters::identity::key;
use tollgate_filters::verdict::{Code, Rejection};

const API_KEY: &str = "x-api-key";
const SEC_FETCH_SITE: &str = "sec-fetch-site";
const COOKIE_NAME: &str = "jwt";

/// What authentication reads of a request.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    pub headers: &'a HeaderMap,
    /// `:authority` of HTTP/2; without it the `Host` header counts.
    pub authority: Option<&'a str>,
}

/// A credential as it was shown. No `Debug`: it must not reach a log.
#[derive(Clone, Copy)]
pub(super) enum Credential<'a> {
    Key(&'a str),
    Token(&'a str),
}

/// When the cookie counts. A browser attaches cookies to requests that other sites make, so the cookie alone proves nothing:
/// the request must come from the gateway's own origin or a listed one, and have a JSON body, which a form cannot send.
#[derive(Debug)]
pub(super) struct CookieRules {
    origins: Vec<String>,
}

impl<'a> From<&'a HeaderMap> for Head<'a> {
    fn from(headers: &'a HeaderMap) -> Self {
        Head { headers, authority: None }
    }
}

impl<'a> Head<'a> {
    /// Whether anything that could be a credential is there, good or bad.
    pub(super) fn shows_credential(&self, reads_cookie: bool) -> bool {
        self.headers.contains_key(AUTHORIZATION)
            || self.headers.contains_key(API_KEY)
            || (reads_cookie && self.cookies().next().is_some())
    }

    /// The one credential of the request; `None` without any.
    pub(super) fn credential(
        &self,
        cookie: Option<&CookieRules>,
    ) -> Result<Option<Credential<'a>>, Rejection> {
        let bearer = self.single(AUTHORIZATION.as_str())?.map(bearer_of).transpose()?;
        let header = self.single(API_KEY)?.map(str::trim);
        let shown = match (bearer, header) {
            (Some(bearer), Some(header)) if bearer != header => {
                return Err(refuse(
                    "The request has two different credentials, in 'Authorization' and in 'x-api-key'. Send only one.",
                ));
            }
            (Some(shown), _) | (None, Some(shown)) => shown,
            (None, None) => {
                return match cookie {
                    Some(rules) => self.cookie(rules).map(|token| token.map(Credential::Token)),
                    None => Ok(None),
                };
            }
        };
        if shown.is_empty() {
            return Err(refuse("The credential is empty. Send 'Authorization: Bearer <API key or token>'."));
        }
        Ok(Some(Credential::of(shown)))
    }

    fn cookie(&self, rules: &CookieRules) -> Result<Option<&'a str>, Rejection> {
        let mut cookies = self.cookies();
        let Some(token) = cookies.next() else { return Ok(None) };
        let deny = |message: &str| Err(Rejection::new(Code::InvalidToken, message));
        if cookies.next().is_some() {
            return deny("The cookie 'jwt' is there twice. Clear this site's cookies and sign in again.");
        }
        if !self.has_json_body() {
            return deny(
                "The cookie 'jwt' is accepted only with 'Content-Type: application/json'. Set it, or send the token in \
                 'Authorization: Bearer'.",
            );
        }
        if !self.is_from(rules) {
            return deny(
                "The cookie 'jwt' is accepted only from pages of this site or of a listed origin. Send the token in \
                 'Authorization: Bearer'.",
            );
        }
        Ok(Some(token))
    }

    /// Values of every cookie named `jwt` (RFC 6265, section 4.2.1).
    fn cookies(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.headers
            .get_all(COOKIE)
            .iter()
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(name, _)| *name == COOKIE_NAME)
            .map(|(_, value)| value.trim_matches('"'))
    }

    fn has_json_body(&self) -> bool {
        let Ok(Some(value)) = self.single(CONTENT_TYPE.as_str()) else { return false };
        let essence = value.split(';').next().unwrap_or_default().trim();
        essence.eq_ignore_ascii_case("application/json")
    }

    /// A page cannot set `Origin` or `Sec-Fetch-Site` itself (Fetch, "forbidden request-header"; Fetch Metadata, section 2).
    fn is_from(&self, rules: &CookieRules) -> bool {
        let (Ok(origin), Ok(site)) = (self.single(ORIGIN.as_str()), self.single(SEC_FETCH_SITE)) else {
            return false;
        };
        match origin {
            Some(origin) if rules.origins.iter().any(|listed| listed.eq_ignore_ascii_case(origin)) => true,
            Some(origin) => {
                let same_host = origin
                    .split_once("://")
                    .zip(self.host())
                    .is_some_and(|((_, authority), host)| authority.eq_ignore_ascii_case(host));
                same_host && site.is_none_or(|site| site == "same-origin")
            }
            None => site == Some("same-origin"),
        }
    }

    fn host(&self) -> Option<&'a str> {
        match self.authority {
            Some(authority) => Some(authority),
            None => self.single(HOST.as_str()).ok().flatten(),
        }
    }

    /// A header that may stand once. Two of them are refused: the next reader might take the other one.
    fn single(&self, name: &str) -> Result<Option<&'a str>, Rejection> {
        let mut values = self.headers.get_all(name).iter();
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(refuse("A credential header stands twice. Send it once."));
        }
        match value.to_str() {
            Ok(text) => Ok(Some(text)),
            Err(_) => {
                Err(refuse("A credential header holds characters that no key or token has. Copy it again."))
            }
        }
    }
}

impl<'a> Credential<'a> {
    /// Three parts between dots are a signed token (RFC 7515, section 3.1), everything else is a key.
    fn of(shown: &'a str) -> Self {
        let is_token =
            !shown.starts_with(key::PREFIX) && shown.bytes().filter(|byte| *byte == b'.').count() == 2;
        if is_token { Credential::Token(shown) } else { Credential::Key(shown) }
    }
}

impl CookieRules {
    pub(super) fn new(origins: &[String]) -> Self {
        CookieRules { origins: origins.to_vec() }
    }
}

/// RFC 9110, section 11.4: the scheme's case does not matter.
fn bearer_of(value: &str) -> Result<&str, Rejection> {
    match value.trim().split_once(' ') {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("bearer") => Ok(rest.trim()),
        None if value.trim().eq_ignore_ascii_case("bearer") => Ok(""),
        _ => Err(refuse("The 'Authorization' header must be 'Bearer <API key or token>'.")),
    }
}

fn refuse(message: &str) -> Rejection {
    Rejection::new(Code::InvalidApiKey, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            let name: http::HeaderName = name.parse().expect("a header name");
            map.append(name, http::HeaderValue::from_bytes(value.as_bytes()).expect("a header value"));
        }
        map
    }

    /// `k:` key, `t:` token, `-` none, `!` refused.
    fn read(lines: &[(&str, &str)], authority: Option<&str>) -> String {
        let map = headers(lines);
        let rules = CookieRules::new(&["https://console.example".to_owned()]);
        match (Head { headers: &map, authority }).credential(Some(&rules)) {
            Ok(None) => "-".into(),
            Ok(Some(Credential::Key(key))) => format!("k:{key}"),
            Ok(Some(Credential::Token(token))) => format!("t:{token}"),
            Err(rejection) => {
                assert_eq!(rejection.code.status(), 401);
                "!".into()
            }
        }
    }

    #[test]
    fn headers_that_carry_one() {
        let check = |lines: &[(&str, &str)], expect: &str| assert_eq!(read(lines, None), expect, "{lines:?}");
        check(&[], "-");
        check(&[("authorization", "Bearer tg_a_1")], "k:tg_a_1");
        check(&[("authorization", "bEARER   tg_a_1 ")], "k:tg_a_1");
        check(&[("authorization", "Bearer a.b.c")], "t:a.b.c");
        check(&[("authorization", "Bearer tg_a.b.c_1")], "k:tg_a.b.c_1");
        check(&[("authorization", "Bearer a.b")], "k:a.b");
        check(&[("authorization", "Bearer a.b.c.d.e")], "k:a.b.c.d.e");
        check(&[("x-api-key", "tg_a_1")], "k:tg_a_1");
        check(&[("x-api-key", "a.b.c")], "t:a.b.c");
        check(&[("x-api-key", "k"), ("authorization", "Bearer k")], "k:k");
        check(&[("x-api-key", "k"), ("authorization", "Bearer j")], "!");
        check(&[("x-api-key", "k"), ("x-api-key", "k")], "!");
        check(&[("authorization", "Bearer k"), ("authorization", "Bearer k")], "!");
        check(&[("authorization", "Basic dTpw")], "!");
        check(&[("authorization", "k")], "!");
        check(&[("authorization", "Bearer")], "!");
        check(&[("authorization", "Bearer ")], "!");
        check(&[("authorization", "")], "!");
        check(&[("x-api-key", "")], "!");
        check(&[("authorization", "Bearer kä")], "!");
    }

    #[test]
    fn cookie_needs_a_json_body_and_a_known_origin() {
        const JSON: (&str, &str) = ("content-type", "application/json; charset=utf-8");
        const JWT: (&str, &str) = ("cookie", "theme=dark; jwt=a.b.c");
        const HOST: (&str, &str) = ("host", "gate.example:8080");
        let check = |lines: &[(&str, &str)], expect: &str| assert_eq!(read(lines, None), expect, "{lines:?}");
        let own = ("origin", "https://GATE.example:8080");
        check(&[JWT, JSON, HOST, own], "t:a.b.c");
        check(&[JWT, JSON, HOST, own, ("sec-fetch-site", "same-origin")], "t:a.b.c");
        check(&[JWT, JSON, HOST, own, ("sec-fetch-site", "cross-site")], "!");
        check(&[JWT, JSON, HOST, ("sec-fetch-site", "same-origin")], "t:a.b.c");
        check(&[JWT, JSON, HOST, ("sec-fetch-site", "same-site")], "!");
        check(&[JWT, JSON, HOST, ("sec-fetch-site", "none")], "!");
        check(&[JWT, JSON, HOST], "!");
        check(
            &[JWT, JSON, HOST, ("origin", "https://console.example"), ("sec-fetch-site", "cross-site")],
            "t:a.b.c",
        );
        check(&[JWT, JSON, HOST, ("origin", "https://evil.example")], "!");
        check(&[JWT, JSON, HOST, ("origin", "https://gate.example")], "!");
        check(&[JWT, JSON, HOST, ("origin", "null"), ("sec-fetch-site", "same-origin")], "!");
        check(&[JWT, JSON, HOST, own, own], "!");
        check(&[JWT, HOST, own], "!");
        check(&[JWT, HOST, own, ("content-type", "text/plain")], "!");
        check(&[JWT, HOST, own, ("content-type", "application/x-www-form-urlencoded")], "!");
        check(&[("cookie", "jwt=a.b.c; jwt=d.e.f"), JSON, HOST, own], "!");
        check(&[("cookie", "xjwt=a.b.c"), JSON, HOST, own], "-");
        check(&[JWT, ("x-api-key", "k"), HOST], "k:k");
        assert_eq!(read(&[JWT, JSON, ("origin", "https://h2.example")], Some("h2.example")), "t:a.b.c");
        assert_eq!(read(&[JWT, JSON, HOST, own], Some("h2.example")), "!");
    }

    #[test]
    fn cookie_is_not_read_unless_configured() {
        let map = headers(&[("cookie", "jwt=a.b.c"), ("content-type", "application/json")]);
        assert!(matches!(Head::from(&map).credential(None), Ok(None)));
        assert!(!Head::from(&map).shows_credential(false));
        assert!(Head::from(&map).shows_credential(true));
    }
}
