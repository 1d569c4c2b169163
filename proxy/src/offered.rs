//! Which models the hosts behind a wildcard offer, so that `GET /v1/models` can list them.

use arc_swap::ArcSwap;

#[derive(Debug, Default)]
pub struct Offered(ArcSwap<Vec<String>>);

impl Offered {
    pub(crate) fn names(&self) -> Vec<String> {
        self.0.load().as_ref().clone()
    }
}
