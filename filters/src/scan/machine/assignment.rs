//! `password = "…"`, `"api_key": "…"`, `--token=…`: a value given to something named like a secret.

use super::{Rest, Step, Text};
use crate::scan::check::random;
use crate::scan::rules::Rules;
use crate::scan::units::OTHER;

const MAX_SUFFIX: usize = 24;
/// Units of a value, at which it is judged by what was seen.
pub(in crate::scan) const MAX_VALUE: u8 = 128;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Name,
    /// Behind the name: closing quotes, spaces.
    Gap(u8),
    /// Behind the name and a space: the letters of `is` that were read.
    Is(u8),
    /// Behind the operator.
    Operator(u8),
    Value,
}

#[derive(Debug, Clone)]
pub(in crate::scan) struct Assignment {
    /// Index of the name in `Rules::keys`.
    key: u16,
    matched: u16,
    part: Part,
    suffix: [u8; MAX_SUFFIX],
    suffix_len: u8,
    quote: u8,
    /// The last unit behind the name was a space.
    spaced: bool,
    value: u8,
    password: bool,
}

impl Assignment {
    pub(in crate::scan) fn new(key: u16) -> Assignment {
        Assignment {
            key,
            matched: 0,
            part: Part::Name,
            suffix: [0; MAX_SUFFIX],
            suffix_len: 0,
            quote: 0,
            spaced: false,
            value: 0,
            password: false,
        }
    }

    pub(super) fn feed(&mut self, unit: u8, rules: &Rules) -> Step {
        match self.part {
            Part::Name => self.feed_name(unit, &rules.keys[usize::from(self.key)].prefix),
            Part::Gap(n) => match unit {
                b'=' | b':' => self.go(Part::Operator(0)),
                // `set token "…"`: not the quote that closes around the name.
                b'"' | b'\'' | b'`' if self.spaced => {
                    self.quote = unit;
                    self.go(Part::Operator(0))
                }
                b'i' if self.spaced => self.go(Part::Is(1)),
                b' ' | b'\t' | b'"' | b'\'' | b'`' | b']' | b'\\' if n < 6 => {
                    self.spaced = matches!(unit, b' ' | b'\t');
                    self.go(Part::Gap(n + 1))
                }
                _ => Step::Ended,
            },
            Part::Is(read) => match (read, unit) {
                (1, b's') => self.go(Part::Is(2)),
                (2, b' ' | b':') => self.go(Part::Operator(0)),
                _ => Step::Ended,
            },
            Part::Operator(n) => self.feed_operator(unit, n),
            Part::Value => self.feed_value(unit),
        }
    }

    fn go(&mut self, part: Part) -> Step {
        self.part = part;
        Step::More
    }

    fn feed_name(&mut self, unit: u8, name: &[u8]) -> Step {
        if let Some(expected) = name.get(usize::from(self.matched)) {
            self.matched += 1;
            return if unit.eq_ignore_ascii_case(expected) { Step::More } else { Step::Ended };
        }
        if unit.is_ascii_alphanumeric() || matches!(unit, b'_' | b'-') {
            let Some(slot) = self.suffix.get_mut(usize::from(self.suffix_len)) else { return Step::Ended };
            *slot = unit.to_ascii_lowercase();
            self.suffix_len += 1;
            return Step::More;
        }
        if !is_suffix(&self.suffix[..usize::from(self.suffix_len)]) {
            return Step::Ended;
        }
        self.password = name.starts_with(b"pass") || name.starts_with(b"pwd");
        match unit {
            // `<password>…</password>`
            b'=' | b':' | b'>' => self.go(Part::Operator(0)),
            b' ' | b'\t' | b'"' | b'\'' | b'`' | b']' | b'\\' => {
                self.spaced = matches!(unit, b' ' | b'\t');
                self.go(Part::Gap(0))
            }
            _ => Step::Ended,
        }
    }

    fn feed_operator(&mut self, unit: u8, n: u8) -> Step {
        match unit {
            b' ' | b'\t' | b'=' | b'>' | b':' | b'\\' if n < 6 && self.quote == 0 => {
                self.go(Part::Operator(n + 1))
            }
            b'"' | b'\'' | b'`' if self.quote == 0 => {
                self.quote = unit;
                Step::More
            }
            _ if is_solid(unit) => {
                self.part = Part::Value;
                self.value = 1;
                Step::Begin
            }
            _ => Step::Ended,
        }
    }

    fn feed_value(&mut self, unit: u8) -> Step {
        // In quotes, brackets and commas are part of a password.
        let inside = is_solid(unit)
            || self.quote != 0
                && matches!(
                    unit,
                    b'(' | b')' | b'<' | b'>' | b'{' | b'}' | b'[' | b']' | b',' | b';' | b'&' | b'|'
                );
        if !inside {
            return Step::Ended;
        }
        self.value += 1;
        if self.value == MAX_VALUE { Step::Committed(Rest::Solid) } else { Step::Mark }
    }

    pub(super) fn judge(&self, text: Text<'_>) -> Option<(usize, usize)> {
        let quoted = self.quote != 0;
        let call = !quoted && matches!(text.next, Some(b'(' | b'[' | b'{'));
        let mut value = text.units;
        if !quoted {
            let end =
                value.iter().rposition(|b| !matches!(b, b'.' | b'!' | b'?' | b':')).map_or(0, |at| at + 1);
            value = &value[..end];
        }
        let password = self.password && (quoted || random::entropy(value) > 2.0);
        (!call && random::value(value, password)).then_some((0, value.len()))
    }

    pub(super) fn is_in_value(&self) -> bool {
        self.part == Part::Value && self.value >= 4
    }

    /// Whether the value has begun: names inside of it are no names.
    pub(in crate::scan) fn has_value(&self) -> bool {
        self.part == Part::Value
    }
}

/// What may follow a secret's name in a longer one: `_key`, `Value`, `_prod_2`; not `_name`, `_count`, `izer`.
fn is_suffix(mut suffix: &[u8]) -> bool {
    const PARTS: [&[u8]; 19] = [
        b"_",
        b"-",
        b"key",
        b"value",
        b"token",
        b"secret",
        b"access",
        b"string",
        b"prod",
        b"production",
        b"dev",
        b"staging",
        b"live",
        b"test",
        b"base64",
        b"api",
        b"admin",
        b"root",
        b"user",
    ];
    while let Some(first) = suffix.first() {
        if first.is_ascii_digit() {
            suffix = &suffix[1..];
            continue;
        }
        let Some(part) = PARTS.iter().rev().find(|part| suffix.starts_with(part)) else { return false };
        suffix = &suffix[part.len()..];
    }
    true
}

/// Whether a unit can stand in a value that is not in quotes.
pub(super) const fn is_solid(unit: u8) -> bool {
    unit > b' '
        && unit < OTHER
        && !matches!(
            unit,
            b'"' | b'\''
                | b'`'
                | b'\\'
                | b','
                | b';'
                | b'<'
                | b'>'
                | b'('
                | b')'
                | b'['
                | b']'
                | b'{'
                | b'}'
                | b'|'
                | b'&'
                | 0x7f
                | 0x81
        )
}
