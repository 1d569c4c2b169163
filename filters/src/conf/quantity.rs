//! Sizes, durations and rates with their units written out.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

pub(super) const DURATION: &str = "duration-with-unit";
pub(super) const BYTE_SIZE: &str = "byte-size";
pub(super) const RATE: &str = "rate";

/// What a text should have been.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {wanted}")]
pub struct Unreadable {
    text: String,
    wanted: &'static str,
}

/// `50ms`, `30s`, `1m30s`, `2h`, `1d`: whole numbers, units from the largest to the smallest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HumanDuration(pub Duration);

/// `2048`, `2KiB`, `32MiB`, `1GB`: bytes, with binary (KiB, MiB, GiB) or decimal (kB, MB, GB) units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

/// So many per period: `10/s`, `100/min`, `200k/min`, `3M/h`, `1M/day`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rate {
    pub amount: u64,
    pub per: Duration,
}

impl ByteSize {
    /// As a length in memory; saturates where memory is smaller than the number.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

const DURATION_UNITS: &[(&str, u64)] =
    &[("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl FromStr for HumanDuration {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Unreadable> {
        let parse = || {
            let mut rest = text.trim();
            let mut millis = 0u64;
            let mut next_unit = 0;
            if rest.is_empty() {
                return None;
            }
            while !rest.is_empty() {
                let (number, after) = leading_number(rest)?;
                let end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
                let (unit, after) = after.split_at(end);
                let place = DURATION_UNITS.iter().position(|(name, _)| *name == unit)?;
                if place < next_unit {
                    return None;
                }
                next_unit = place + 1;
                millis = millis.checked_add(number.checked_mul(DURATION_UNITS[place].1)?)?;
                rest = after;
            }
            Some(HumanDuration(Duration::from_millis(millis)))
        };
        parse().ok_or_else(|| unreadable(text, "a duration; write 50ms, 30s, 1m30s, 2h or 1d"))
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        if millis == 0 {
            return f.write_str("0s");
        }
        for (name, size) in DURATION_UNITS {
            let count = millis / size;
            if count > 0 {
                write!(f, "{count}{name}")?;
                millis %= size;
            }
        }
        Ok(())
    }
}

const SIZE_UNITS: &[(&str, u64)] = &[
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
    ("", 1),
];

impl FromStr for ByteSize {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Unreadable> {
        let parse = || {
            let (number, unit) = leading_number(text.trim())?;
            let (_, size) = SIZE_UNITS.iter().find(|(name, _)| *name == unit.trim_start())?;
            number.checked_mul(*size).map(ByteSize)
        };
        parse().ok_or_else(|| unreadable(text, "a size; write bytes or 2KiB, 32MiB, 1GiB, 10MB"))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = SIZE_UNITS.iter().find(|(name, size)| {
            (self.0 >= *size && self.0.is_multiple_of(*size) && name.ends_with("iB")) || name.is_empty()
        });
        let (name, size) = whole.unwrap_or(&("", 1));
        write!(f, "{}{name}", self.0 / size)
    }
}

const PERIODS: &[(&str, u64)] = &[("s", 1), ("min", 60), ("h", 3_600), ("day", 86_400)];

impl FromStr for Rate {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Unreadable> {
        let parse = || {
            let (count, period) = text.trim().split_once('/')?;
            let (number, scale) = leading_number(count.trim())?;
            let scale = match scale {
                "" => 1,
                "k" => 1_000,
                "M" => 1_000_000,
                _ => return None,
            };
            let (_, secs) = PERIODS.iter().find(|(name, _)| *name == period.trim())?;
            let amount = number.checked_mul(scale).filter(|amount| *amount > 0)?;
            Some(Rate { amount, per: Duration::from_secs(*secs) })
        };
        parse()
            .ok_or_else(|| unreadable(text, "a rate above 0; write 10/s, 100/min, 200k/min, 5k/h or 1M/day"))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (amount, scale) = match self.amount {
            n if n > 0 && n.is_multiple_of(1_000_000) => (n / 1_000_000, "M"),
            n if n > 0 && n.is_multiple_of(1_000) => (n / 1_000, "k"),
            n => (n, ""),
        };
        match PERIODS.iter().find(|(_, secs)| Duration::from_secs(*secs) == self.per) {
            Some((name, _)) => write!(f, "{amount}{scale}/{name}"),
            None => write!(f, "{amount}{scale}/{}", HumanDuration(self.per)),
        }
    }
}

/// Digits at the front (at least one) and what follows them.
fn leading_number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    digits.parse().ok().map(|number| (number, rest))
}

fn unreadable(text: &str, wanted: &'static str) -> Unreadable {
    // A secret may have been put here by mistake: long texts are not repeated.
    let shown = if text.chars().count() > 20 { "(a long text)".to_owned() } else { text.to_owned() };
    Unreadable { text: shown, wanted }
}

struct Text<T>(&'static str, std::marker::PhantomData<T>);

impl<T: FromStr<Err = Unreadable>> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        number.to_string().parse().map_err(E::custom)
    }
}

macro_rules! as_text {
    ($type:ident, $expecting:literal, $schema:expr) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(Text::<$type>($expecting, std::marker::PhantomData))
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    };
}

as_text!(HumanDuration, "a duration such as 30s", {
    json_schema!({
        "description": "A duration: 50ms, 30s, 1m30s, 2h, 1d.",
        "type": "string",
        "format": DURATION,
    })
});
as_text!(ByteSize, "a size such as 32MiB", {
    json_schema!({
        "description": "A size in bytes: 2048, 2KiB, 32MiB, 1GiB, 10MB.",
        "type": ["string", "integer"],
        "minimum": 0,
        "format": BYTE_SIZE,
    })
});
as_text!(Rate, "a rate such as 100/min", {
    json_schema!({
        "description": "So many per period: 10/s, 100/min, 200k/min, 5k/h, 1M/day.",
        "type": "string",
        "format": RATE,
    })
});

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations() {
        let ms = |text: &str| text.parse::<HumanDuration>().ok().map(|d| d.0.as_millis());
        let table = [
            ("50ms", Some(50)),
            ("30s", Some(30_000)),
            ("1m30s", Some(90_000)),
            ("1d2h", Some(93_600_000)),
            ("0s", Some(0)),
            ("", None),
            ("30", None),
            ("1.5s", None),
            ("30s1m", None),
            ("1s1s", None),
            ("-1s", None),
            ("5 s", None),
            ("99999999999999999999s", None),
            ("18446744073709551615d", None),
        ];
        for (text, expect) in table {
            assert_eq!(ms(text), expect, "{text}");
        }
    }

    #[test]
    fn sizes() {
        let bytes = |text: &str| text.parse::<ByteSize>().ok().map(|s| s.0);
        let table = [
            ("2048", Some(2048)),
            ("2KiB", Some(2048)),
            ("2 KiB", Some(2048)),
            ("32MiB", Some(33_554_432)),
            ("10MB", Some(10_000_000)),
            ("1GiB", Some(1 << 30)),
            ("MiB", None),
            ("1 mib", None),
            ("-1", None),
            ("18446744073709551615KiB", None),
        ];
        for (text, expect) in table {
            assert_eq!(bytes(text), expect, "{text}");
        }
        assert_eq!(serde_json::from_str::<ByteSize>("4096").expect("number"), ByteSize(4096));
    }

    #[test]
    fn rates() {
        let rate = |text: &str| text.parse::<Rate>().ok().map(|r| (r.amount, r.per.as_secs()));
        let table = [
            ("100/min", Some((100, 60))),
            ("200k/min", Some((200_000, 60))),
            ("1M/day", Some((1_000_000, 86_400))),
            ("5 / s", Some((5, 1))),
            ("3k/h", Some((3_000, 3_600))),
            ("0/s", None),
            ("100", None),
            ("100/minute", None),
            ("1.5k/s", None),
            ("18446744073709551615M/s", None),
        ];
        for (text, expect) in table {
            assert_eq!(rate(text), expect, "{text}");
        }
    }

    #[test]
    fn errors_say_what_to_write_and_do_not_repeat_long_texts() {
        let error = "30".parse::<HumanDuration>().expect_err("no unit").to_string();
        assert_eq!(error, "`30` is not a duration; write 50ms, 30s, 1m30s, 2h or 1d");
        let error = "sk-0123456789abcdefghijklmnop".parse::<Rate>().expect_err("no rate").to_string();
        assert!(!error.contains("sk-"), "{error}");
    }

    proptest! {
        #[test]
        fn printed_values_read_back(millis in 0u64..u64::MAX / 2, bytes: u64, amount in 1u64..1 << 40, period in 0usize..4) {
            let duration = HumanDuration(Duration::from_millis(millis));
            prop_assert_eq!(duration.to_string().parse(), Ok(duration));
            let size = ByteSize(bytes);
            prop_assert_eq!(size.to_string().parse(), Ok(size));
            let rate = Rate { amount, per: Duration::from_secs(PERIODS[period].1) };
            prop_assert_eq!(rate.to_string().parse(), Ok(rate));
        }

        #[test]
        fn any_text_is_answered(text in "\\PC*") {
            for (_, check) in super::super::FORMATS {
                let _ = check(&text);
            }
        }
    }
}
