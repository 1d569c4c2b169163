use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tollgate_filters::limits::{Bucket, Shape, Short};

use super::rules::Rule;
use super::{
    Ask, Hold, Level, LimitRules, LimitsBackend, MAX_WAIT, Refusal, Refused, Reservation, Reserving,
    Standing, What,
};

/// Buckets that are kept by default; about 20 MiB when all are in use.
const ROOM: usize = 100_000;
/// The table is swept in so many parts, so that no sweep looks at more than a part of it.
const PARTS: usize = 64;
/// A part that had nothing to evict is not swept again for so long: a flood of new addresses must not buy a sweep each.
const SWEEP_PAUSE: u64 = 10_000_000;
/// When a place under a concurrency limit comes free is not known; clients are told this.
const CONCURRENCY_WAIT: Duration = Duration::from_secs(1);

/// Limits in process.
///
/// One lock over everything makes "all of a request's limits or none" exact, and it is short: names are hashed before it, and
/// under it there is a table look-up or two and some integer arithmetic per limit.
#[derive(Clone)]
pub struct LocalLimits {
    shared: Arc<Shared>,
}

struct Shared {
    /// Keyed afresh in each process: no caller can choose names that collide.
    seeds: (RandomState, RandomState),
    room: usize,
    table: Mutex<Table>,
}

/// Hash of limit id, scope and scope value, 128 bits: the identity of a bucket.
type Identity = u128;

struct Table {
    /// [`PARTS`] of them.
    parts: Box<[Part]>,
    /// What new names share while the table is full: one slot per limit.
    overflow: HashMap<Identity, Slot, BuildHasherDefault<Hashed>>,
}

#[derive(Default)]
struct Part {
    slots: HashMap<Identity, Slot, BuildHasherDefault<Hashed>>,
    no_sweep_before: u64,
}

/// Live state of one limit for one scope value, with the shapes it was last held to.
#[derive(Default)]
struct Slot {
    requests: Bucket,
    tokens: Bucket,
    request_shape: Option<Shape>,
    token_shape: Option<Shape>,
    in_flight: u64,
}

/// Where a reservation took something.
#[derive(Clone, Copy)]
struct Place {
    identity: Identity,
    overflow: bool,
}

/// One limit of the request at hand.
struct Pick<'r> {
    rule: &'r Rule,
    place: Place,
}

impl Default for LocalLimits {
    fn default() -> Self {
        LocalLimits::with_room(ROOM)
    }
}

impl LocalLimits {
    /// Keeps at most about `room` buckets besides one per limit. Past it, buckets that have refilled are forgotten, which changes
    /// nothing; where none has, new names share one bucket per limit.
    pub fn with_room(room: usize) -> LocalLimits {
        let seeds = (RandomState::new(), RandomState::new());
        LocalLimits { shared: Arc::new(Shared { seeds, room, table: Mutex::new(Table::new()) }) }
    }

    /// Buckets kept, for a gauge.
    pub fn buckets(&self) -> usize {
        let table = self.shared.table.lock();
        table.parts.iter().map(|part| part.slots.len()).sum::<usize>() + table.overflow.len()
    }

    fn pick<'r>(rule: &'r Rule, ask: &Ask<'_>, hash: &mut Wide<'_>) -> Option<Pick<'r>> {
        hash.bytes.clear();
        rule.identify(ask, hash)
            .then(|| Pick { rule, place: Place { identity: hash.wide(), overflow: false } })
    }

    fn take(&self, rules: &LimitRules, ask: &Ask<'_>) -> Result<Reservation, Refused> {
        let mut picks: Vec<Pick<'_>> = Vec::with_capacity(8);
        let mut hash = self.shared.hasher();
        picks.extend(rules.holding(ask).filter_map(|rule| LocalLimits::pick(rule, ask, &mut hash)));
        if picks.is_empty() {
            return Ok(Reservation { tokens: ask.tokens, standing: Standing::default(), hold: None });
        }
        let places;
        let mut standing = Standing::default();
        {
            let mut table = self.shared.table.lock();
            for pick in &mut picks {
                table.settle_in(pick, &self.shared, ask.now);
            }
            if let Some(mut refusal) =
                picks.iter().filter_map(|pick| table.refusal(pick, ask)).max_by_key(rank)
            {
                for pick in &picks {
                    let fresh = &mut Slot::default();
                    table.slot(pick.place).unwrap_or(fresh).stand(pick.rule, &mut standing, ask.now);
                }
                refusal.standing = standing;
                return Err(Refused::Over(Box::new(refusal)));
            }
            for pick in &picks {
                table.charge(pick, ask).stand(pick.rule, &mut standing, ask.now);
            }
            places = picks.iter().map(|pick| pick.place).collect();
        }
        let hold = LocalHold { shared: Arc::clone(&self.shared), places };
        Ok(Reservation { tokens: ask.tokens, standing, hold: Some(Box::new(hold)) })
    }
}

impl LimitsBackend for LocalLimits {
    fn reserve(&self, rules: &Arc<LimitRules>, ask: &Ask<'_>) -> Reserving {
        Reserving::now(self.take(rules, ask))
    }
}

/// Which of several refusals is told: the one that waiting cannot mend, else the one to wait for longest.
fn rank(refusal: &Refusal) -> (bool, Duration) {
    (refusal.impossible, refusal.wait)
}

impl Shared {
    fn hasher(&self) -> Wide<'_> {
        Wide { seeds: &self.seeds, bytes: Vec::with_capacity(128) }
    }
}

impl Table {
    fn new() -> Table {
        Table { parts: (0..PARTS).map(|_| Part::default()).collect(), overflow: HashMap::default() }
    }

    /// Makes sure that the pick has a place: its own slot, room for one, or the limit's overflow slot.
    fn settle_in(&mut self, pick: &mut Pick<'_>, shared: &Shared, now: u64) {
        let part = &mut self.parts[part_of(pick.place.identity)];
        if part.slots.contains_key(&pick.place.identity) || part.has_room((shared.room / PARTS).max(1), now) {
            return;
        }
        let mut hash = shared.hasher();
        pick.rule.name(&mut hash);
        pick.place = Place { identity: hash.wide(), overflow: true };
        // Limits that reloads have removed leave their overflow slots behind.
        if self.overflow.len() > PARTS * 16 {
            self.overflow.retain(|_, slot| !slot.is_idle(now));
        }
    }

    fn slot(&mut self, place: Place) -> Option<&mut Slot> {
        let slots =
            if place.overflow { &mut self.overflow } else { &mut self.parts[part_of(place.identity)].slots };
        slots.get_mut(&place.identity)
    }

    fn refusal(&mut self, pick: &Pick<'_>, ask: &Ask<'_>) -> Option<Refusal> {
        let rule = pick.rule;
        let fresh = &mut Slot::default();
        let slot = self.slot(pick.place).unwrap_or(fresh);
        let refuse = |what, asked, capacity, short: Short| Refusal {
            limit: Arc::clone(&rule.id),
            scope: rule.scope,
            what,
            asked,
            capacity,
            wait: short.wait.min(MAX_WAIT),
            impossible: short.impossible,
            standing: Standing::default(),
        };
        let over = |bucket: &Bucket, shape: Option<Shape>, what, asked| {
            let shape = shape?;
            let short = bucket.check(&shape, asked, ask.now).err()?;
            Some(refuse(what, asked, shape.capacity(), short))
        };
        let places = || {
            let most = rule.concurrency.filter(|most| slot.in_flight >= *most)?;
            let short = Short { wait: CONCURRENCY_WAIT, impossible: most == 0 };
            Some(refuse(What::Concurrency, 1, most, short))
        };
        [
            over(&slot.requests, rule.requests, What::Requests, 1),
            over(&slot.tokens, rule.tokens, What::Tokens, ask.tokens),
            places(),
        ]
        .into_iter()
        .flatten()
        .max_by_key(rank)
    }

    fn charge(&mut self, pick: &Pick<'_>, ask: &Ask<'_>) -> &mut Slot {
        let identity = pick.place.identity;
        let slots =
            if pick.place.overflow { &mut self.overflow } else { &mut self.parts[part_of(identity)].slots };
        let slot = slots.entry(identity).or_default();
        (slot.request_shape, slot.token_shape) = (pick.rule.requests, pick.rule.tokens);
        if let Some(shape) = &slot.request_shape {
            slot.requests.charge(shape, 1, ask.now);
        }
        if let Some(shape) = &slot.token_shape {
            slot.tokens.charge(shape, ask.tokens, ask.now);
        }
        // Counted also without a concurrency limit: a reload may add one. And a slot in use is never evicted.
        slot.in_flight += 1;
        slot
    }
}

impl Part {
    fn has_room(&mut self, room: usize, now: u64) -> bool {
        if self.slots.len() < room {
            return true;
        }
        if now < self.no_sweep_before {
            return false;
        }
        self.slots.retain(|_, slot| !slot.is_idle(now));
        self.no_sweep_before = now.saturating_add(SWEEP_PAUSE);
        self.slots.len() < room
    }
}

impl Slot {
    /// Whether forgetting it would change nothing.
    fn is_idle(&self, now: u64) -> bool {
        let full =
            |bucket: &Bucket, shape: &Option<Shape>| shape.is_none_or(|shape| bucket.is_full(&shape, now));
        self.in_flight == 0
            && full(&self.requests, &self.request_shape)
            && full(&self.tokens, &self.token_shape)
    }

    /// Puts this slot's levels under `rule` into `standing` where they are the tightest so far.
    fn stand(&self, rule: &Rule, standing: &mut Standing, now: u64) {
        let tighten = |level: &mut Option<Level>, bucket: &Bucket, shape: &Option<Shape>| {
            let Some(shape) = shape else { return };
            let remaining = bucket.remaining(shape, now);
            if level.is_none_or(|other| (remaining, shape.capacity()) < (other.remaining, other.limit)) {
                let reset = bucket.full_in(shape, now).min(MAX_WAIT);
                *level = Some(Level { limit: shape.capacity(), remaining, reset });
            }
        };
        tighten(&mut standing.requests, &self.requests, &rule.requests);
        tighten(&mut standing.tokens, &self.tokens, &rule.tokens);
    }
}

/// The part of the table comes from other bits than those that the part's own map uses first.
fn part_of(identity: Identity) -> usize {
    usize::try_from(identity >> 121).unwrap_or(0) % PARTS
}

struct LocalHold {
    shared: Arc<Shared>,
    places: Box<[Place]>,
}

impl Hold for LocalHold {
    fn settle(&mut self, reserved: u64, actual: u64, now: u64) {
        let mut table = self.shared.table.lock();
        for place in &self.places {
            // A slot with a request in flight is never evicted.
            let Some(slot) = table.slot(*place) else { continue };
            slot.in_flight = slot.in_flight.saturating_sub(1);
            if let Some(shape) = &slot.token_shape {
                slot.tokens.settle(shape, reserved, actual, now);
            }
        }
    }

    fn keep(&mut self) {
        let mut table = self.shared.table.lock();
        for place in &self.places {
            if let Some(slot) = table.slot(*place) {
                slot.in_flight = slot.in_flight.saturating_sub(1);
            }
        }
    }
}

/// Two keyed hashes of the same bytes. They are gathered first: SipHash costs more per write than per byte.
struct Wide<'s> {
    seeds: &'s (RandomState, RandomState),
    bytes: Vec<u8>,
}

impl Wide<'_> {
    fn wide(&self) -> Identity {
        u128::from(self.half(&self.seeds.0)) << 64 | u128::from(self.half(&self.seeds.1))
    }

    fn half(&self, seed: &RandomState) -> u64 {
        let mut hasher = seed.build_hasher();
        hasher.write(&self.bytes);
        hasher.finish()
    }
}

impl Hasher for Wide<'_> {
    fn write(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn finish(&self) -> u64 {
        self.half(&self.seeds.1)
    }
}

/// For keys that are hashes already.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn write(&mut self, bytes: &[u8]) {
        // Not reached: an Identity writes itself as a u128.
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    #[allow(clippy::cast_possible_truncation)] // half of a hash
    fn write_u128(&mut self, identity: u128) {
        self.0 = identity as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
