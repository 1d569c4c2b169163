//! What differs between providers, as facts: where a surface is spoken, which header carries the credential, which headers a
//! request must have. No I/O; the proxy sends what these say.

use crate::chat::Api;

/// Which dialect an upstream speaks.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum ProviderKind {
    /// vLLM, SGLang, llama.cpp, and whatever else speaks OpenAI's surfaces on a host of one's own.
    Vllm,
    /// api.openai.com, and providers compatible with it.
    Openai,
    /// Azure OpenAI: one deployment per model, `api-version` in the query.
    Azure,
    /// api.anthropic.com.
    Anthropic,
}

/// How a provider takes its credential: header name, and what stands before the key in its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuthHeader {
    /// Lower case.
    pub name: &'static str,
    /// `Bearer ` or nothing.
    pub prefix: &'static str,
}

impl AuthHeader {
    /// The header's value for this key.
    pub fn value(self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }
}

/// What stands in `anthropic-version` when the caller sent none
/// (<https://docs.anthropic.com/en/api/versioning>).
pub const ANTHROPIC_VERSION: &str = "2023-06-01";

/// What stands in `api-version` when the provider's configuration names none
/// (<https://learn.microsoft.com/en-us/azure/ai-foundry/openai/api-version-lifecycle>).
pub const AZURE_API_VERSION: &str = "2024-10-21";

impl ProviderKind {
    /// Whether this kind of provider has the surface at all. A provider's configuration can say less (`responses`,
    /// `messages`), never more.
    pub const fn speaks(self, api: Api) -> bool {
        match self {
            // vLLM has served `/v1/messages` and `/v1/responses` since 0.11 and 0.10; older ones answer 404.
            ProviderKind::Vllm => true,
            ProviderKind::Openai | ProviderKind::Azure => !matches!(api, Api::Messages | Api::CountTokens),
            ProviderKind::Anthropic => matches!(api, Api::Messages | Api::CountTokens),
        }
    }

    /// Header that carries the provider's API key.
    ///
    /// OpenAI <https://platform.openai.com/docs/api-reference/authentication>, Azure
    /// <https://learn.microsoft.com/en-us/azure/ai-foundry/openai/reference#authentication>, Anthropic
    /// <https://docs.anthropic.com/en/api/overview#authentication>.
    pub const fn auth_header(self) -> AuthHeader {
        match self {
            ProviderKind::Vllm | ProviderKind::Openai => {
                AuthHeader { name: "authorization", prefix: "Bearer " }
            }
            ProviderKind::Azure => AuthHeader { name: "api-key", prefix: "" },
            ProviderKind::Anthropic => AuthHeader { name: "x-api-key", prefix: "" },
        }
    }

    /// Headers the provider insists on, sent where the caller has not set them.
    pub const fn default_headers(self) -> &'static [(&'static str, &'static str)] {
        match self {
            ProviderKind::Anthropic => &[("anthropic-version", ANTHROPIC_VERSION)],
            _ => &[],
        }
    }

    /// Path and query of a request: `prefix` is the path part of the base URL (no trailing slash, no `/v1`), `deployment` the
    /// model's name at this provider (only Azure puts it into the path), `api_version` the configured one.
    ///
    /// Azure's Responses API has no deployment in its path and takes the model from the body
    /// (<https://learn.microsoft.com/en-us/azure/ai-foundry/openai/reference-preview>).
    pub fn request_path(self, api: Api, prefix: &str, deployment: &str, api_version: Option<&str>) -> String {
        match self {
            ProviderKind::Vllm | ProviderKind::Openai | ProviderKind::Anthropic => {
                format!("{prefix}{}", api.path())
            }
            ProviderKind::Azure => {
                let version = api_version.unwrap_or(AZURE_API_VERSION);
                let mut path = String::with_capacity(prefix.len() + deployment.len() + 64);
                path.push_str(prefix);
                path.push_str("/openai/");
                if api != Api::Responses {
                    path.push_str("deployments/");
                    escape_segment(deployment, &mut path);
                    path.push('/');
                }
                path.push_str(api.path().trim_start_matches("/v1/"));
                path.push_str("?api-version=");
                escape_segment(version, &mut path);
                path
            }
        }
    }
}

/// Percent-encodes everything but RFC 3986's unreserved characters: a deployment name is a configured or (with a `*` model) a
/// caller's string, and must not reach another path or query.
fn escape_segment(segment: &str, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    // `.` and `..` would be resolved by the server: their dots are escaped, which RFC 3986 allows and keeps them a name.
    let dots_only = segment.bytes().all(|byte| byte == b'.');
    for byte in segment.bytes() {
        let unreserved = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
        if unreserved && !(dots_only && byte == b'.') {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        use ProviderKind::{Anthropic, Azure, Openai, Vllm};
        let table = [
            (Vllm, Api::Chat, "", "m", None, "/v1/chat/completions"),
            (Openai, Api::Responses, "/proxy", "m", None, "/proxy/v1/responses"),
            (Anthropic, Api::CountTokens, "", "m", None, "/v1/messages/count_tokens"),
            (
                Azure,
                Api::Chat,
                "",
                "gpt-4o",
                Some("2025-01-01-preview"),
                "/openai/deployments/gpt-4o/chat/completions?api-version=2025-01-01-preview",
            ),
            (
                Azure,
                Api::Embeddings,
                "/x",
                "e 3",
                None,
                "/x/openai/deployments/e%203/embeddings?api-version=2024-10-21",
            ),
            (Azure, Api::Responses, "", "m", Some("preview"), "/openai/responses?api-version=preview"),
            (
                Azure,
                Api::Completions,
                "",
                "../../admin?x=",
                Some("a&b"),
                "/openai/deployments/..%2F..%2Fadmin%3Fx%3D/completions?api-version=a%26b",
            ),
            (
                Azure,
                Api::Completions,
                "",
                "..",
                Some("1"),
                "/openai/deployments/%2E%2E/completions?api-version=1",
            ),
        ];
        for (kind, api, prefix, deployment, version, expected) in table {
            assert_eq!(kind.request_path(api, prefix, deployment, version), expected);
        }
    }

    #[test]
    fn surfaces_and_credentials() {
        assert!(ProviderKind::Anthropic.speaks(Api::Messages));
        assert!(!ProviderKind::Anthropic.speaks(Api::Chat));
        assert!(!ProviderKind::Openai.speaks(Api::CountTokens));
        assert_eq!(ProviderKind::Openai.auth_header().value("k"), "Bearer k");
        assert_eq!(ProviderKind::Azure.auth_header().value("k"), "k");
        assert_eq!(ProviderKind::Anthropic.auth_header().name, "x-api-key");
        assert_eq!(ProviderKind::Anthropic.default_headers(), [("anthropic-version", ANTHROPIC_VERSION)]);
    }
}
