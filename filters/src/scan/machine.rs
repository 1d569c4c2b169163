//! Candidates: what reads on from where a trigger fired, one unit at a time, until it is decided.
//!
//! A machine knows only how far its kind of value can reach. Whether what it has read is a value is asked once, of the whole,
//! when it has ended; so every unit is read once by each candidate that it can belong to, and the cut of the stream has no say.

use super::check::{iban, random};
use super::rules::{RuleId, Rules};
use super::units::{IDEOGRAPH, is_word};
use super::{Policy, address, email};

mod assignment;
mod key;
mod pattern;

pub(super) use assignment::{Assignment, Lead, MAX_VALUE};
use key::PemRest;
pub(super) use key::{
    ANY_SCHEME, Jwt, Key, MAX_JWT, MAX_LED, MAX_PEM, MAX_SCHEME, MAX_URL, Pem, Url, in_lead, in_scheme,
};
pub(super) use pattern::{Automaton, Pattern, compile as compile_pattern, in_context};

/// What a unit did to a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The unit was read; no value can end with it.
    More,
    /// The unit was read; a value may end with it.
    Mark,
    /// The value begins with this unit, and may end with it.
    Begin,
    /// The unit was read; a value may have ended before it.
    MarkBefore,
    /// The unit was read; a value may have ended before it, and names may begin behind it.
    Pause,
    /// The unit is not part of it: decide.
    Ended,
    /// The same, and all that was read before it is.
    EndedHere,
    /// Committed: the value is this up to and with the unit, and the rest of the run.
    Committed(Rest),
}

/// The rest of a committed value, which is swallowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    /// A run of the class of a key rule.
    Class(u16),
    /// A run without spaces, quotes and brackets.
    Solid,
    /// Base64url and dots.
    Token,
    /// To the end marker of a PEM block.
    Pem(PemRest),
}

/// What is swallowed, and up to where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Swallowed {
    Yes,
    /// The unit is the last.
    Last,
    No,
}

impl Rest {
    pub(super) fn take(&mut self, unit: u8, rules: &Rules) -> Swallowed {
        let inside = match self {
            Rest::Class(key) => rules.keys[usize::from(*key)].class[usize::from(unit)],
            Rest::Solid => assignment::is_solid(unit),
            Rest::Token => key::is_base64url(unit) || unit == b'.',
            Rest::Pem(rest) => return rest.take(unit),
        };
        if inside { Swallowed::Yes } else { Swallowed::No }
    }
}

/// The machines.
#[derive(Debug, Clone)]
pub(super) enum Machine {
    /// Behind the `@`; units of the domain and of its last label, whether it begins with ideographs.
    Email {
        units: u16,
        label: u8,
        ideographs: bool,
    },
    Ipv6 {
        units: u8,
        part: Ipv6Part,
    },
    Iban {
        head: [u8; 2],
        taken: u8,
        len: u8,
        gap: bool,
    },
    Key(Key),
    Jwt(Jwt),
    Pem(Pem),
    Url(Url),
    Assignment(Assignment),
    Pattern(Pattern),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ipv6Part {
    Groups,
    Zone,
    Prefix,
}

/// Longest written IPv6 address: eight groups, or six and a dotted tail (RFC 4291 section 2.2).
pub(super) const MAX_IPV6: usize = 45;
pub(super) const MAX_IPV6_SUFFIX: u8 = 20;
/// Units past which an answer that is cut short keeps what may be an address, or letters and digits of what may be an account.
const PAST_IPV6: u8 = 9;
const PAST_IBAN: u8 = 8;

/// What a decided candidate is judged by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text<'a> {
    /// Its units.
    pub(super) units: &'a [u8],
    /// The unit before it, and the one before that.
    pub(super) before: Option<u8>,
    pub(super) farther: Option<u8>,
    /// The unit after it.
    pub(super) next: Option<u8>,
}

impl Machine {
    pub(super) fn feed(&mut self, unit: u8, rules: &Rules) -> Step {
        match self {
            Machine::Email { units, label, ideographs } => {
                if *units == 0 {
                    *ideographs = unit == IDEOGRAPH;
                }
                // One unit too many for a label, and no more: that is no part of an address.
                let long = usize::from(*units) == email::MAX_DOMAIN || usize::from(*label) > email::MAX_LABEL;
                if long || !email::in_domain(unit, *ideographs) {
                    return Step::Ended;
                }
                *units += 1;
                *label = if unit == b'.' { 0 } else { *label + 1 };
                Step::Mark
            }
            Machine::Ipv6 { units, part } => feed_ipv6(units, part, unit),
            Machine::Iban { head, taken, len, gap } => feed_iban(head, taken, len, gap, unit),
            Machine::Key(key) => key.feed(unit, rules),
            Machine::Jwt(jwt) => jwt.feed(unit),
            Machine::Pem(pem) => pem.feed(unit),
            Machine::Url(url) => url.feed(unit, rules),
            Machine::Assignment(assignment) => assignment.feed(unit, rules),
            Machine::Pattern(pattern) => pattern.feed(unit, rules),
        }
    }

    /// The part of the text that is a value, if it is one.
    pub(super) fn judge(
        &self,
        rule: RuleId,
        text: Text<'_>,
        rules: &Rules,
        policy: &Policy,
    ) -> Option<(usize, usize)> {
        let exempt = &policy.switches().exempt;
        let units = text.units;
        let whole = (0, units.len());
        match self {
            Machine::Email { .. } => email::address(units, text.next, &rules.top_level)
                .filter(|(from, to)| !email::exempt(&units[*from..*to], exempt)),
            Machine::Ipv6 { .. } => {
                let len = address::ipv6(units, exempt).or_else(|| {
                    let (near, far) = (text.before, text.farther);
                    address::loopback(units, near, far, text.next, exempt)
                })?;
                // `2001:db8::1: no route`
                let colon = units[len..] == *b":" && !text.next.is_some_and(is_word);
                let after = units.get(len).copied().or(text.next);
                let bordered = colon || !after.is_some_and(|unit| is_word(unit) || unit == b':');
                bordered.then_some((0, len))
            }
            Machine::Iban { .. } => {
                let solid: Vec<u8> = units.iter().copied().filter(u8::is_ascii_alphanumeric).collect();
                (!text.next.is_some_and(is_word) && iban::iban(&solid)).then_some(whole)
            }
            Machine::Key(key) => key.judge(text, rules).then_some(whole),
            Machine::Jwt(_) => random::entropy(units).gt(&3.5).then_some(whole),
            Machine::Pem(_) => Some(whole),
            Machine::Url(_) => key::has_password(units).then_some(whole),
            Machine::Assignment(assignment) => assignment.judge(text),
            Machine::Pattern(pattern) => pattern.judge(rule, text, rules).then_some(whole),
        }
    }

    /// What `End::CutShort` masks: a candidate of which more than a common beginning was seen.
    pub(super) fn is_past_trigger(&self, rules: &Rules) -> bool {
        match self {
            Machine::Email { .. } | Machine::Pem(_) => true,
            Machine::Key(key) => key.is_past_prefix(rules),
            Machine::Jwt(jwt) => jwt.is_past_prefix(),
            Machine::Url(url) => url.is_in_password(),
            Machine::Assignment(assignment) => assignment.is_in_value(),
            Machine::Ipv6 { units, .. } => *units >= PAST_IPV6,
            Machine::Iban { taken, .. } => *taken >= PAST_IBAN,
            Machine::Pattern(pattern) => pattern.is_past_trigger(rules),
        }
    }
}

/// What an IPv6 address is made of, but for a zone.
pub(super) const fn in_ipv6(unit: u8) -> bool {
    unit.is_ascii_hexdigit() || matches!(unit, b':' | b'.')
}

fn feed_ipv6(units: &mut u8, part: &mut Ipv6Part, unit: u8) -> Step {
    let max = MAX_IPV6 as u8 + if *part == Ipv6Part::Groups { 0 } else { MAX_IPV6_SUFFIX };
    if *units >= max {
        return Step::Ended;
    }
    *units += 1;
    match (*part, unit) {
        (Ipv6Part::Groups, b':' | b'.') => Step::Mark,
        (Ipv6Part::Groups, _) if unit.is_ascii_hexdigit() => Step::Mark,
        (Ipv6Part::Groups, b'%') => {
            *part = Ipv6Part::Zone;
            Step::More
        }
        (Ipv6Part::Zone, _) if unit.is_ascii_alphanumeric() => Step::Mark,
        // `br-lan`, `eth0.100`: only what ends in a letter or digit is a mark.
        (Ipv6Part::Zone, b'-' | b'.' | b'_') => Step::More,
        (Ipv6Part::Groups | Ipv6Part::Zone, b'/') => {
            *part = Ipv6Part::Prefix;
            Step::More
        }
        (Ipv6Part::Prefix, b'0'..=b'9') => Step::Mark,
        _ => Step::Ended,
    }
}

/// Country, check digits and account as the country's structure has them, with single spaces or hyphens in between.
fn feed_iban(head: &mut [u8; 2], taken: &mut u8, len: &mut u8, gap: &mut bool, unit: u8) -> Step {
    if *taken > 0 && *taken == *len {
        return Step::Ended;
    }
    if matches!(unit, b' ' | b'-') && *taken >= 2 && !*gap {
        *gap = true;
        return Step::More;
    }
    let fits = match *taken {
        0 | 1 => unit.is_ascii_alphabetic(),
        2 | 3 => unit.is_ascii_digit(),
        position => iban::fits_at(*head, usize::from(position) - 4, unit),
    };
    if !fits {
        return Step::Ended;
    }
    if let Some(letter) = head.get_mut(usize::from(*taken)) {
        *letter = unit;
    }
    *gap = false;
    *taken += 1;
    if *taken == 2 {
        match iban::length(*head) {
            Some(letters) => *len = letters as u8,
            None => return Step::Ended,
        }
    }
    if *taken == *len { Step::Mark } else { Step::More }
}
