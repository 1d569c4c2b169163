//! Which models the hosts behind a wildcard offer, so that `GET /v1/models` can list them. Asked in the background, never for a
//! request.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures::StreamExt as _;
use tokio::time::sleep;
use tollgate_filters::conf::Secret;
use tollgate_filters::providers::ProviderKind;

use crate::upstream::{Endpoint, Fleet, ProviderEntry, Upstreams};

/// How often every host is asked.
const EVERY: Duration = Duration::from_secs(30);
/// After a round in which a host did not answer.
const AGAIN: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(5);
/// Names kept, over all hosts together.
const MOST_NAMES: usize = 1000;
/// Longest name.
const MAX_NAME: usize = 256;
/// Most bytes read of one answer.
const MAX_ANSWER: usize = 1 << 20;
/// Hosts asked at a time.
const TOGETHER: usize = 16;

/// The names, as of the last round.
#[derive(Debug, Default)]
pub struct Offered(ArcSwap<Vec<String>>);

/// One host to ask.
struct Asked {
    provider: Arc<ProviderEntry>,
    endpoint: Arc<Endpoint>,
    key: Option<Secret>,
}

/// A host's URL, and a digest of the key it is asked with: what it offers may depend on who asks.
type Account = (String, [u8; 32]);

/// What each host said last.
type Known = HashMap<Account, Vec<String>>;

impl Offered {
    /// In order, each once.
    pub(crate) fn names(&self) -> Vec<String> {
        self.0.load().as_ref().clone()
    }

    /// Asks the hosts behind `*` now and then, for as long as its future is polled; a new configuration's at once.
    pub async fn run(&self, upstreams: &Upstreams) {
        let mut fleets = upstreams.adopted();
        let mut known = Known::new();
        loop {
            let fleet = fleets.borrow_and_update().clone();
            let all_answered = match &fleet {
                Some(fleet) => self.round(fleet, &mut known).await,
                None => true,
            };
            tokio::select! {
                () = sleep(if all_answered { EVERY } else { AGAIN }) => {}
                changed = fleets.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Asks every host once. A host that does not answer keeps what it said last: it comes back, or a reload removes it.
    async fn round(&self, fleet: &Fleet, known: &mut Known) -> bool {
        let asked: Vec<Asked> = behind_wildcard(fleet);
        let accounts: HashSet<Account> = asked.iter().map(Asked::account).collect();
        known.retain(|account, _| accounts.contains(account));
        let mut answers = futures::stream::iter(asked.into_iter().map(Asked::ask)).buffer_unordered(TOGETHER);
        let mut all_answered = true;
        while let Some((account, answer)) = answers.next().await {
            match answer {
                Ok(names) => drop(known.insert(account, names)),
                Err(why) => {
                    all_answered = false;
                    tracing::debug!(url = account.0, why, "the host does not say which models it offers");
                }
            }
        }
        let names: BTreeSet<&String> = known.values().flatten().collect();
        self.0.store(Arc::new(names.into_iter().take(MOST_NAMES).cloned().collect()));
        all_answered
    }
}

/// Hosts that a name is passed on to as it is. Azure lists what could be deployed, not what is: it is not asked.
fn behind_wildcard(fleet: &Fleet) -> Vec<Asked> {
    let Some(any) = fleet.any_model() else { return Vec::new() };
    let targets = any
        .all_targets()
        .filter(|target| target.model.is_none() && target.provider.settings.kind != ProviderKind::Azure);
    let mut asked: Vec<Asked> = Vec::new();
    for target in targets {
        for endpoint in target.provider.endpoints() {
            let (provider, endpoint) = (Arc::clone(&target.provider), Arc::clone(endpoint));
            asked.push(Asked { provider, endpoint, key: target.api_key.clone() });
        }
    }
    asked.sort_by_cached_key(Asked::account);
    asked.dedup_by_key(|asked| asked.account());
    asked
}

impl Asked {
    fn account(&self) -> Account {
        let key = self.key.as_ref().map_or("", Secret::expose);
        (self.url(), *blake3::hash(key.as_bytes()).as_bytes())
    }

    fn url(&self) -> String {
        let url = &self.endpoint.url;
        let scheme = if url.tls { "https" } else { "http" };
        // Anthropic's list has pages (<https://docs.anthropic.com/en/api/models-list>); others ignore the query or have none.
        let query = if self.provider.settings.kind == ProviderKind::Anthropic { "?limit=1000" } else { "" };
        format!("{scheme}://{}{}/v1/models{query}", self.endpoint.authority, url.prefix)
    }

    async fn ask(self) -> (Account, Result<Vec<String>, String>) {
        let account = self.account();
        let answer = tokio::time::timeout(TIMEOUT, self.fetch(&account.0)).await;
        (account, answer.unwrap_or_else(|_| Err("timeout".to_owned())))
    }

    async fn fetch(&self, url: &str) -> Result<Vec<String>, String> {
        let settings = &self.provider.settings;
        let mut request = self.provider.client()?.get(url);
        for (name, value) in settings.kind.default_headers() {
            request = request.header(*name, *value);
        }
        if let Some(key) = &self.key {
            let auth = settings.kind.auth_header();
            request = request.header(auth.name, auth.value(key.expose()));
        }
        let mut answer = request.send().await.map_err(|error| error.without_url().to_string())?;
        if !answer.status().is_success() {
            return Err(answer.status().to_string());
        }
        let mut body = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(|error| error.without_url().to_string())? {
            if body.len() + piece.len() > MAX_ANSWER {
                return Err(format!("more than {MAX_ANSWER} bytes"));
            }
            body.extend_from_slice(&piece);
        }
        names_in(&body)
    }
}

/// `data[].id`, in OpenAI's form and Anthropic's.
fn names_in(body: &[u8]) -> Result<Vec<String>, String> {
    #[derive(serde::Deserialize)]
    struct List {
        data: Vec<Entry>,
    }
    #[derive(serde::Deserialize)]
    struct Entry {
        id: String,
    }
    let list: List = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let good = |id: &String| (1..=MAX_NAME).contains(&id.len()) && !id.chars().any(char::is_control);
    Ok(list.data.into_iter().map(|entry| entry.id).filter(good).take(MOST_NAMES).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_both_forms_are_read() {
        let openai = br#"{"object":"list","data":[{"id":"a","object":"model"},{"id":"org/b"}]}"#;
        assert_eq!(names_in(openai), Ok(vec!["a".to_owned(), "org/b".to_owned()]));
        let anthropic = br#"{"data":[{"type":"model","id":"claude"}],"has_more":false,"first_id":"claude"}"#;
        assert_eq!(names_in(anthropic), Ok(vec!["claude".to_owned()]));
        for bad in [&b"{}"[..], b"[]", b"", b"{\"data\":[{}]}"] {
            assert!(names_in(bad).is_err());
        }
    }

    #[test]
    fn lists_and_names_are_bounded() {
        let entry = |id: &str| serde_json::json!({"id": id});
        let many: Vec<_> = (0..2 * MOST_NAMES).map(|n| entry(&n.to_string())).collect();
        let body = serde_json::json!({"data": many}).to_string();
        assert_eq!(names_in(body.as_bytes()).map(|names| names.len()), Ok(MOST_NAMES));
        let odd =
            serde_json::json!({"data": [entry(""), entry(&"x".repeat(257)), entry("a\nb"), entry("ok")]});
        assert_eq!(names_in(odd.to_string().as_bytes()), Ok(vec!["ok".to_owned()]));
    }
}
