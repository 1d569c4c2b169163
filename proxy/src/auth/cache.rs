//! Tokens that were verified lately: the signature is not checked again for every call of one client.
//!
//! Only verified tokens enter, so strangers cannot fill it. An entry holds claims, never a caller: who the claims make is
//! decided by each request's own directory. An entry counts only while the rules and the key generation it was verified with
//! are still the issuer's; a generation belongs to one key set, so the `kid` need not be compared again.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tollgate_filters::identity::claims::Claims;

/// Longest time an entry counts, however long its token lives.
pub(super) const MAX_AGE: Duration = Duration::from_secs(300);

const SHARDS: usize = 16;
const MAX_ENTRIES: usize = 10_000 / SHARDS;
/// Bytes of tokens whose claims are kept, per shard: 4 MiB in all. Claims in memory take several times that.
const MAX_BYTES: usize = 4 * 1024 * 1024 / SHARDS;

/// BLAKE3 of the token.
pub(super) type TokenHash = [u8; 32];

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) issuer: Box<str>,
    pub(super) claims: Claims,
    pub(super) fingerprint: [u8; 32],
    pub(super) generation: u64,
    pub(super) until: SystemTime,
    pub(super) size: usize,
}

#[derive(Debug, Default)]
pub(super) struct TokenCache {
    shards: [Mutex<Shard>; SHARDS],
}

/// Invariant: `order` names every key of `entries` once, oldest first; `bytes` is the sum of their sizes.
#[derive(Debug, Default)]
struct Shard {
    entries: HashMap<TokenHash, Arc<Entry>, BuildHasherDefault<FirstBytes>>,
    order: VecDeque<TokenHash>,
    bytes: usize,
}

/// The key is a cryptographic hash already.
#[derive(Debug, Default)]
struct FirstBytes(u64);

impl TokenCache {
    pub(super) fn find(&self, hash: &TokenHash) -> Option<Arc<Entry>> {
        self.shard(hash).lock().entries.get(hash).cloned()
    }

    pub(super) fn keep(&self, hash: TokenHash, entry: Entry, now: SystemTime) {
        self.shard(&hash).lock().keep(hash, Arc::new(entry), now);
    }

    fn shard(&self, hash: &TokenHash) -> &Mutex<Shard> {
        // The map's own hash uses the first bytes; the last one is independent of them.
        &self.shards[usize::from(hash[31]) % SHARDS]
    }
}

impl Shard {
    fn keep(&mut self, hash: TokenHash, entry: Arc<Entry>, now: SystemTime) {
        self.bytes += entry.size;
        match self.entries.insert(hash, entry) {
            Some(old) => self.bytes -= old.size,
            None => self.order.push_back(hash),
        }
        // First in, first out. What is over its time is at the front, so it goes before anything has to.
        while self.order.len() > 1 && (self.is_over_full() || self.front_is_over(now)) {
            self.drop_front();
        }
    }

    fn is_over_full(&self) -> bool {
        self.entries.len() > MAX_ENTRIES || self.bytes > MAX_BYTES
    }

    fn front_is_over(&self, now: SystemTime) -> bool {
        self.order.front().and_then(|hash| self.entries.get(hash)).is_some_and(|entry| entry.until <= now)
    }

    fn drop_front(&mut self) {
        if let Some(entry) = self.order.pop_front().and_then(|hash| self.entries.remove(&hash)) {
            self.bytes -= entry.size;
        }
    }
}

impl Hasher for FirstBytes {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk::<8>() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    /// The length of the key, which never differs, is hashed too.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: SystemTime = SystemTime::UNIX_EPOCH;

    fn hash(number: u32) -> TokenHash {
        let mut hash = [0; 32];
        hash[..4].copy_from_slice(&number.to_le_bytes());
        hash
    }

    fn entry(size: usize, seconds: u64) -> Arc<Entry> {
        Arc::new(Entry {
            issuer: "".into(),
            claims: Claims::parse(b"{}").expect("an object"),
            fingerprint: [0; 32],
            generation: 1,
            until: START + Duration::from_secs(seconds),
            size,
        })
    }

    fn check_invariant(shard: &Shard) {
        assert_eq!(shard.order.len(), shard.entries.len());
        assert!(shard.order.iter().all(|hash| shard.entries.contains_key(hash)));
        assert_eq!(shard.bytes, shard.entries.values().map(|entry| entry.size).sum::<usize>());
        assert!(!shard.is_over_full() || shard.entries.len() == 1);
    }

    #[test]
    fn bounded_in_number_and_bytes() {
        let mut shard = Shard::default();
        for number in 0..3_000 {
            shard.keep(hash(number), entry(1, 10), START);
            check_invariant(&shard);
        }
        assert_eq!(shard.entries.len(), MAX_ENTRIES);
        assert!(shard.entries.contains_key(&hash(2_999)) && !shard.entries.contains_key(&hash(0)));
        for number in 0..3_000 {
            shard.keep(hash(number), entry(16 * 1024, 10), START);
            check_invariant(&shard);
        }
        assert_eq!(shard.entries.len(), MAX_BYTES / (16 * 1024));
    }

    #[test]
    fn replaced_and_expired() {
        let mut shard = Shard::default();
        shard.keep(hash(1), entry(5, 10), START);
        shard.keep(hash(1), entry(7, 20), START);
        shard.keep(hash(2), entry(1, 20), START);
        check_invariant(&shard);
        assert_eq!(shard.bytes, 8);
        shard.keep(hash(3), entry(1, 40), START + Duration::from_secs(20));
        check_invariant(&shard);
        assert_eq!(shard.order, [hash(3)], "what is over goes first");
    }
}
