//! From an event or a notice to the bytes that are written, numbered and chained; and the part of them that every reader needs.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Event, Hash, Ranges, Timestamp};

/// Version of the written form.
pub const SCHEMA: u32 = 1;

/// What a written record tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// One request; [`Event`].
    Request,
    /// A request whose event never came (a defect or a panic): only its number is known.
    Lost,
    /// Numbers that have no event, and why.
    Gap,
    /// Refusals before admission past their share of the queue, counted.
    Refusals,
    /// The last record of a generation that stopped in good order.
    Stopped,
}

impl Kind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Request => "request",
            Kind::Lost => "lost",
            Kind::Gap => "gap",
            Kind::Refusals => "refusals",
            Kind::Stopped => "stopped",
        }
    }
}

/// What is written besides requests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Notice {
    pub ts: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gap: Option<Gap>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusals: Option<Refusals>,
}

impl Notice {
    pub const fn bare(ts: Timestamp) -> Notice {
        Notice { ts, gap: None, refusals: None }
    }

    pub const fn gap(ts: Timestamp, gap: Gap) -> Notice {
        Notice { ts, gap: Some(gap), refusals: None }
    }

    pub const fn refusals(ts: Timestamp, refusals: Refusals) -> Notice {
        Notice { ts, gap: None, refusals: Some(refusals) }
    }
}

/// Numbers of `instance` that have no event of their own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Gap {
    /// Whose numbers: this instance generation's own or, after a crash, an earlier one's.
    pub instance: String,
    pub reason: GapReason,
    pub ranges: Ranges,
    /// Requests without an event. After a crash an upper bound: numbers of the open block that may never have been used count too.
    pub count: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GapReason {
    /// The process ended without closing its block.
    Crash,
    /// The queue was full and the policy says drop. Events past what can be listed have no number and are in `count` only.
    Dropped,
    /// Requests were still open at the shutdown's deadline.
    Shutdown,
}

impl GapReason {
    pub const fn as_str(self) -> &'static str {
        match self {
            GapReason::Crash => "crash",
            GapReason::Dropped => "dropped",
            GapReason::Shutdown => "shutdown",
        }
    }
}

/// Refusals that got no event each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Refusals {
    pub counts: Vec<CodeCount>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CodeCount {
    pub code: Cow<'static, str>,
    pub count: u64,
}

/// Where a record stands: identity, number, link.
#[derive(Debug, Clone, Copy)]
pub struct Seal<'a> {
    pub event_id: uuid::Uuid,
    /// `instance.generation`
    pub instance: &'a str,
    pub seq: u64,
    /// Hash of the record written before this one; [`Hash::GENESIS`] for the first.
    pub prev: Hash,
}

/// A record as it is written: one JSON object, no line end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    pub seq: u64,
    pub bytes: Vec<u8>,
    /// What the next record's `prev` must be.
    pub hash: Hash,
    /// Numbers of the same instance that this record says have none.
    pub declares: Ranges,
}

/// The bytes of a request's event.
pub fn seal_event(seal: Seal<'_>, event: &Event) -> Sealed {
    sealed(seal, Kind::Request, event)
}

/// The bytes of any other record.
pub fn seal_notice(seal: Seal<'_>, kind: Kind, notice: &Notice) -> Sealed {
    let mut record = sealed(seal, kind, notice);
    if let Some(gap) = &notice.gap
        && gap.instance == seal.instance
    {
        record.declares = gap.ranges.clone();
    }
    record
}

fn sealed<T: Serialize>(seal: Seal<'_>, kind: Kind, body: &T) -> Sealed {
    let mut id = uuid::Uuid::encode_buffer();
    let mut prev = [0; 64];
    let written = Written {
        event_id: Cow::Borrowed(seal.event_id.hyphenated().encode_lower(&mut id)),
        schema: SCHEMA,
        kind,
        instance: Cow::Borrowed(seal.instance),
        seq: seal.seq,
        prev: Cow::Borrowed(seal.prev.write_hex(&mut prev)),
        body,
    };
    let mut bytes = Vec::with_capacity(1024);
    serde_json::to_writer(&mut bytes, &written)
        .expect("a Vec takes every write, and no map in an event has keys that are not strings");
    let hash = Hash::of(&bytes);
    Sealed { seq: seal.seq, bytes, hash, declares: Ranges::new() }
}

#[derive(Serialize, JsonSchema)]
struct Written<'a, T> {
    /// UUIDv7; unique, the key of exactly-once storage.
    event_id: Cow<'a, str>,
    schema: u32,
    kind: Kind,
    /// `instance.generation`
    instance: Cow<'a, str>,
    /// From 1, per `instance`.
    seq: u64,
    /// BLAKE3 of the record written before, hex; zeros for the first.
    prev: Cow<'a, str>,
    #[serde(flatten)]
    body: T,
}

/// JSON Schema of a written event of kind `request`.
pub fn json_schema() -> schemars::Schema {
    schemars::schema_for!(Written<'static, Event>)
}

/// The envelope, read back, and what a notice carries. Unknown fields are skipped.
#[derive(Debug, Clone, Deserialize)]
pub struct Header<'a> {
    #[serde(borrow)]
    pub event_id: Cow<'a, str>,
    pub schema: u32,
    pub kind: Kind,
    #[serde(borrow)]
    pub instance: Cow<'a, str>,
    pub seq: u64,
    pub prev: Hash,
    pub ts: Timestamp,
    #[serde(default)]
    pub gap: Option<Gap>,
}

impl<'a> Header<'a> {
    pub fn read(bytes: &'a [u8]) -> Result<Header<'a>, serde_json::Error> {
        serde_json::from_slice(bytes)
    }
}

/// A version 7 UUID (RFC 9562 section 5.7) of a time and 10 random bytes.
pub fn event_id(time: Timestamp, random: [u8; 10]) -> uuid::Uuid {
    let millis = u64::try_from(time.millis()).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
}
