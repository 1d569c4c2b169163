//! Which path and method ask for what.

use http::Method;
use percent_encoding::percent_decode_str;
use tollgate_filters::chat::Api;
use tollgate_filters::verdict::{Code, ErrorForm, Rejection};

/// What a request line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// Answered here, without authentication: is the process alive.
    Health,
    /// The same, with what it depends on.
    HealthReady,
    Ready,
    Startup,
    /// `GET /v1/models` and `GET /v1/models/{model}`.
    Models {
        one: Option<String>,
    },
    Api(Api),
    /// `POST /api/{team}/predict`
    Predict {
        team: String,
    },
}

const APIS: [Api; 6] =
    [Api::Chat, Api::Completions, Api::Embeddings, Api::Responses, Api::Messages, Api::CountTokens];

impl Endpoint {
    /// Finds the endpoint; an unknown path is NOT_FOUND, a known one with another method METHOD_NOT_ALLOWED.
    pub(crate) fn find(method: &Method, path: &str) -> Result<Endpoint, Rejection> {
        let (endpoint, wants) = Endpoint::of_path(path)?;
        if *method == wants || (*method == Method::HEAD && wants == Method::GET) {
            return Ok(endpoint);
        }
        let message = format!("{method} is not allowed here; use {wants} {path}.");
        Err(Rejection::new(Code::MethodNotAllowed, message))
    }

    fn of_path(path: &str) -> Result<(Endpoint, Method), Rejection> {
        if let Some(api) = APIS.into_iter().find(|api| api.path() == path) {
            return Ok((Endpoint::Api(api), Method::POST));
        }
        let local = match path {
            "/health" => Some(Endpoint::Health),
            "/health/ready" => Some(Endpoint::HealthReady),
            "/ready" => Some(Endpoint::Ready),
            "/startup" => Some(Endpoint::Startup),
            "/v1/models" => Some(Endpoint::Models { one: None }),
            _ => None,
        };
        if let Some(endpoint) = local {
            return Ok((endpoint, Method::GET));
        }
        if let Some(model) =
            path.strip_prefix("/v1/models/").and_then(decoded).filter(|model| !model.is_empty())
        {
            return Ok((Endpoint::Models { one: Some(model) }, Method::GET));
        }
        let team = path.strip_prefix("/api/").and_then(|rest| rest.strip_suffix("/predict"));
        if let Some(team) = team.filter(|team| !team.is_empty() && !team.contains('/')) {
            return Ok((Endpoint::Predict { team: team.to_owned() }, Method::POST));
        }
        let message = "There is nothing at this path. The API lives under /v1 (for example POST /v1/chat/completions, \
                       GET /v1/models): set the client's base URL to this address followed by /v1.";
        Err(Rejection::new(Code::NotFound, message))
    }

    /// Methods that this path takes, as the `allow` header lists them.
    pub(crate) fn allowed(path: &str) -> &'static str {
        match Endpoint::of_path(path) {
            Ok((_, method)) if method == Method::GET => "GET, HEAD",
            _ => "POST",
        }
    }

    /// Name in metrics and logs: a bounded set.
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Endpoint::Health | Endpoint::HealthReady | Endpoint::Ready | Endpoint::Startup => "health",
            Endpoint::Models { .. } => "models",
            Endpoint::Api(api) => api.as_str(),
            Endpoint::Predict { .. } => "predict",
        }
    }

    /// Which error body its clients read. Unknown paths get OpenAI's, except below Anthropic's.
    pub(crate) fn error_form(path: &str) -> ErrorForm {
        if path.starts_with("/v1/messages") { ErrorForm::Anthropic } else { ErrorForm::OpenAi }
    }
}

/// A path's segment as its client meant it, decoded once (RFC 3986 section 2.4): SDKs write `org/name` as `org%2Fname`.
/// `None`: no text.
fn decoded(segment: &str) -> Option<String> {
    percent_decode_str(segment).decode_utf8().ok().map(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_methods() {
        let find = |method: Method, path: &str| Endpoint::find(&method, path);
        assert_eq!(find(Method::POST, "/v1/chat/completions"), Ok(Endpoint::Api(Api::Chat)));
        assert_eq!(find(Method::POST, "/v1/messages/count_tokens"), Ok(Endpoint::Api(Api::CountTokens)));
        assert_eq!(find(Method::GET, "/v1/models"), Ok(Endpoint::Models { one: None }));
        let one = Endpoint::Models { one: Some("org/name".into()) };
        assert_eq!(find(Method::GET, "/v1/models/org/name"), Ok(one.clone()));
        assert_eq!(find(Method::GET, "/v1/models/org%2Fname"), Ok(one));
        let once = Endpoint::Models { one: Some("a%2Fb é".into()) };
        assert_eq!(find(Method::GET, "/v1/models/a%252Fb%20%C3%A9"), Ok(once));
        assert_eq!(find(Method::POST, "/api/quant/predict"), Ok(Endpoint::Predict { team: "quant".into() }));
        assert_eq!(find(Method::HEAD, "/health"), Ok(Endpoint::Health));
        let wrong = find(Method::GET, "/v1/chat/completions").unwrap_err();
        assert_eq!(wrong.code, Code::MethodNotAllowed);
        assert!(wrong.message.contains("POST"));
        for path in [
            "/",
            "/v1",
            "/v1/",
            "/v1/chat/completions/",
            "/api//predict",
            "/api/a/b/predict",
            "/v1/models/",
            "/v1/models/%FF",
        ] {
            let missing = find(Method::POST, path).unwrap_err();
            assert_eq!(missing.code, Code::NotFound, "{path}");
        }
    }
}
