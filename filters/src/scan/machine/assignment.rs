//! `password = "…"`, `"api_key": "…"`, `--token=…`: a value given to something named like a secret.

use super::{Rest, Step, Text};
use crate::scan::check::random;
use crate::scan::rules::Rules;
use crate::scan::units::{IDEOGRAPH, LETTER, OTHER};

const MAX_SUFFIX: usize = 24;
/// Units of a value, at which it is judged by what was seen.
pub(in crate::scan) const MAX_VALUE: u8 = 128;
/// Units behind a name, and behind an operator, that say nothing.
const MAX_GAP: u8 = 6;
const MAX_OPERATOR: u8 = 10;
/// Units between a name and the `value` of a pair.
const MAX_PAIR: u8 = 24;

/// Characters of the name of a scheme of authorization.
const MAX_SCHEME: usize = 16;

/// Names of what people make up, as far as they do not begin with `pass`.
const PASSWORDS: [&[u8]; 8] = [
    b"pwd",
    b"kennwort",
    // `contraseña`
    b"trase",
    b"clave",
    b"wachtwoord",
    b"senha",
    b"heslo",
    b"identified by",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Name,
    /// Behind the name: closing quotes, spaces.
    Gap(u8),
    /// Behind the name and a space: the letters of `is` that were read.
    Is(u8),
    /// Behind `name: DB_PASSWORD,`: units read, and those of `value`.
    Pair(u8, u8),
    /// `-> ` or ` - `
    Dash,
    /// `setPassword(`
    Call,
    /// Behind the operator.
    Operator(u8),
    Value,
    /// In a value without quotes, behind `&`, `,`, `;` or `|`: the next name, so far, or more of the value.
    Tail {
        name: bool,
        empty: bool,
    },
}

/// What stands before a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::scan) enum Lead {
    /// Two dashes.
    Flag,
    /// A word and a space.
    Word,
    /// A letter or `_`: the name is the end of a longer one.
    Joined,
    Nothing,
}

impl Lead {
    pub(in crate::scan) fn of(near: Option<u8>, far: Option<u8>) -> Lead {
        match (near, far) {
            (Some(b'-'), Some(b'-')) => Lead::Flag,
            (Some(b' '), Some(far)) if far.is_ascii_alphabetic() => Lead::Word,
            (Some(near), _) if near.is_ascii_alphanumeric() || matches!(near, b'_' | b'-') => Lead::Joined,
            _ => Lead::Nothing,
        }
    }
}

#[derive(Debug, Clone)]
pub(in crate::scan) struct Assignment {
    /// Index of the name in `Rules::keys`.
    key: u16,
    lead: Lead,
    matched: u16,
    part: Part,
    suffix: [u8; MAX_SUFFIX],
    suffix_len: u8,
    quote: u8,
    /// The quote was written behind a backslash, and so is the one that closes.
    backslashed: bool,
    /// The unit before this one.
    last: u8,
    /// A backslash in quotes: the next unit closes nothing.
    escaped: bool,
    /// `==`
    compares: bool,
    value: u8,
    password: bool,
    /// `pass` alone: a verb and a noun, too.
    pass: bool,
    /// In capitals.
    capitals: bool,
    /// Its `value` was read, or is.
    paired: bool,
    /// An `Authorization`: a scheme may stand before the value.
    header: bool,
    /// Nothing but a space stands between name and value.
    bare: bool,
}

impl Assignment {
    /// `read`: the units of the name that its trigger has read, and has compared.
    pub(in crate::scan) fn new(key: u16, lead: Lead, read: &[u8]) -> Assignment {
        Assignment {
            key,
            lead,
            matched: read.len() as u16,
            part: Part::Name,
            suffix: [0; MAX_SUFFIX],
            suffix_len: 0,
            quote: 0,
            backslashed: false,
            last: read.last().copied().unwrap_or_default(),
            escaped: false,
            compares: false,
            value: 0,
            password: false,
            pass: false,
            capitals: !read.iter().any(u8::is_ascii_lowercase),
            paired: false,
            header: false,
            bare: false,
        }
    }

    pub(super) fn feed(&mut self, unit: u8, rules: &Rules) -> Step {
        let step = match self.part {
            Part::Name => self.feed_name(unit, &rules.keys[usize::from(self.key)].prefix),
            Part::Gap(n) => self.feed_gap(unit, n),
            Part::Is(read) => match (read, unit) {
                (1, b's') => self.go(Part::Is(2)),
                (2, b' ' | b':') => self.go(Part::Operator(0)),
                _ => Step::Ended,
            },
            Part::Pair(read, value) => self.feed_pair(unit, read, value),
            Part::Dash if matches!(unit, b'>' | b' ') => self.go(Part::Operator(0)),
            Part::Call if matches!(unit, b'"' | b'\'') => {
                self.quote = unit;
                self.go(Part::Operator(0))
            }
            Part::Dash | Part::Call => Step::Ended,
            Part::Operator(n) => self.feed_operator(unit, n),
            Part::Value if self.quote != 0 => self.feed_quoted(unit),
            Part::Value => self.feed_value(unit),
            Part::Tail { name, empty } => self.feed_tail(unit, name, empty),
        };
        self.last = unit;
        step
    }

    fn go(&mut self, part: Part) -> Step {
        self.part = part;
        Step::More
    }

    fn begin(&mut self) -> Step {
        self.part = Part::Value;
        self.value = 1;
        Step::Begin
    }

    fn feed_name(&mut self, unit: u8, name: &[u8]) -> Step {
        if let Some(expected) = name.get(usize::from(self.matched)) {
            self.matched += 1;
            self.capitals &= !unit.is_ascii_lowercase();
            return if unit.eq_ignore_ascii_case(expected) { Step::More } else { Step::Ended };
        }
        if unit.is_ascii_alphanumeric() || matches!(unit, b'_' | b'-' | LETTER) {
            let Some(slot) = self.suffix.get_mut(usize::from(self.suffix_len)) else { return Step::Ended };
            *slot = unit.to_ascii_lowercase();
            self.suffix_len += 1;
            return Step::More;
        }
        if !is_suffix(&self.suffix[..usize::from(self.suffix_len)]) {
            return Step::Ended;
        }
        self.password = name.starts_with(b"pass") || PASSWORDS.iter().any(|known| name.starts_with(known));
        self.header = name == b"authorization";
        self.pass = name == b"pass" && self.suffix_len == 0 && self.lead != Lead::Joined;
        match unit {
            // `<password>…</password>`
            b'=' | b':' | b'>' => self.go(Part::Operator(0)),
            b'(' if self.password && !self.pass => self.go(Part::Call),
            b' ' | b'\t' | b'"' | b'\'' | b'`' | b']' | b'\\' | b'*' | b'\n' | b'\r' => self.go(Part::Gap(0)),
            _ => Step::Ended,
        }
    }

    fn feed_gap(&mut self, unit: u8, n: u8) -> Step {
        let spaced = matches!(self.last, b' ' | b'\t');
        let value = !self.pass && is_solid(unit);
        match unit {
            b'=' | b':' => self.go(Part::Operator(0)),
            // `set token "…"`: not the quote that closes around the name.
            b'"' | b'\'' | b'`' if spaced && !self.pass => {
                self.quote = unit;
                self.go(Part::Operator(0))
            }
            _ if self.lead == Lead::Flag && spaced && value && unit != b'-' => self.begin(),
            _ if self.last == b'\t' && self.password && value => self.begin(),
            b'i' if spaced && !self.pass => self.go(Part::Is(1)),
            b'v' | b'V' if spaced && !self.paired && n > 1 => self.pair(unit),
            _ if self.last == b' ' && n == 0 && value && unit.is_ascii_alphanumeric() => {
                self.bare = true;
                self.begin()
            }
            b'-' if spaced => self.go(Part::Dash),
            b'|' if spaced => self.go(Part::Operator(0)),
            b' ' | b'\t' | b'"' | b'\'' | b'`' | b']' | b'\\' | b'*' if n < MAX_GAP && self.last != b'\n' => {
                self.go(Part::Gap(n + 1))
            }
            _ if !self.paired => self.pair(unit),
            _ => Step::Ended,
        }
    }

    fn pair(&mut self, unit: u8) -> Step {
        self.paired = true;
        self.feed_pair(unit, 0, 0)
    }

    /// `- name: DB_PASSWORD`, `value: …`, and the like in JSON and XML.
    fn feed_pair(&mut self, unit: u8, read: u8, value: u8) -> Step {
        const VALUE: &[u8] = b"value";
        match VALUE.get(usize::from(value)) {
            None => {
                self.part = Part::Gap(0);
                self.feed_gap(unit, 0)
            }
            Some(expected) if unit.eq_ignore_ascii_case(expected) => self.go(Part::Pair(read, value + 1)),
            Some(_)
                if value == 0
                    && read < MAX_PAIR
                    && matches!(unit, b' ' | b'\t' | b',' | b'\n' | b'\r' | b'"' | b'\'' | b'\\') =>
            {
                self.go(Part::Pair(read + 1, 0))
            }
            Some(_) => Step::Ended,
        }
    }

    fn feed_operator(&mut self, unit: u8, n: u8) -> Step {
        match unit {
            // `--- PASS: TestParse`
            b' ' if self.pass && self.capitals => Step::Ended,
            // A block of YAML.
            b'\n' | b'\r' if matches!(self.last, b'|' | b'>' | b'\r') => self.go(Part::Operator(n + 1)),
            b' ' | b'\t' | b'=' | b'>' | b':' | b'\\' | b'*' | b'|' | OTHER
                if n < MAX_OPERATOR && self.quote == 0 =>
            {
                self.compares |= unit == b'=' && self.last == b'=';
                self.go(Part::Operator(n + 1))
            }
            b'"' | b'\'' | b'`' if self.quote == 0 => {
                self.quote = unit;
                self.backslashed = self.last == b'\\';
                Step::More
            }
            _ if is_solid(unit) => self.begin(),
            _ => Step::Ended,
        }
    }

    fn take(&mut self, step: Step) -> Step {
        self.value += 1;
        if self.value == MAX_VALUE { Step::Committed(Rest::Solid) } else { step }
    }

    /// Up to the quote that closes, in one line.
    fn feed_quoted(&mut self, unit: u8) -> Step {
        let escaped = std::mem::take(&mut self.escaped);
        match unit {
            b'\t' | b' ' => self.take(Step::Pause),
            0..b' ' => Step::Ended,
            _ if escaped => self.take(Step::Mark),
            b'\\' if self.backslashed => Step::Ended,
            b'\\' => {
                self.escaped = true;
                self.take(Step::Mark)
            }
            _ if unit == self.quote => Step::Ended,
            _ => self.take(Step::Mark),
        }
    }

    fn feed_value(&mut self, unit: u8) -> Step {
        match unit {
            b',' | b';' | b'&' | b'|' => self.delimit(Step::Pause),
            b' ' | b'\t' if self.header && usize::from(self.value) < MAX_SCHEME => {
                self.header = false;
                self.value = 0;
                self.go(Part::Operator(0))
            }
            OTHER => self.take(Step::Mark),
            _ if is_solid(unit) => self.take(Step::Mark),
            _ => Step::Ended,
        }
    }

    /// Reads what another name may follow.
    fn delimit(&mut self, step: Step) -> Step {
        self.part = Part::Tail { name: true, empty: true };
        self.count(step)
    }

    /// What may be no part of the value is not taken for it at its longest either.
    fn count(&mut self, step: Step) -> Step {
        self.value += 1;
        if self.value == MAX_VALUE { Step::Ended } else { step }
    }

    /// `&user=` ends the value before the delimiter, and so does what closes something; all else goes on with it.
    fn feed_tail(&mut self, unit: u8, name: bool, empty: bool) -> Step {
        match unit {
            b'=' | b':' if name && !empty => Step::Ended,
            _ if unit.is_ascii_alphanumeric() || matches!(unit, b'_' | b'-' | b'.') => {
                let begins = !empty || unit.is_ascii_alphabetic() || unit == b'_';
                self.part = Part::Tail { name: name && begins, empty: false };
                self.count(Step::More)
            }
            _ if empty => Step::Ended,
            b',' | b';' | b'&' | b'|' => self.delimit(Step::MarkBefore),
            _ if is_solid(unit) => {
                self.part = Part::Value;
                self.take(Step::Mark)
            }
            0..=b' ' => Step::EndedHere,
            _ => Step::Ended,
        }
    }

    /// Whether the value would be all of what was read if nothing followed.
    pub(in crate::scan) fn ends_here(&self) -> bool {
        matches!(self.part, Part::Tail { empty: false, .. })
    }

    pub(super) fn judge(&self, text: Text<'_>) -> Option<(usize, usize)> {
        if self.quote == 0 {
            return self.judge_solid(text).map(|len| (0, len));
        }
        // `"Authorization": "Token …"`
        let scheme = text.units.iter().position(|b| *b == b' ').filter(|at| self.header && *at < MAX_SCHEME);
        let from = scheme.map_or(0, |at| at + 1);
        self.judge_quoted(Text { units: &text.units[from..], ..text }).map(|len| (from, from + len))
    }

    fn judge_solid(&self, text: Text<'_>) -> Option<usize> {
        let units = text.units;
        let core = units.iter().position(|b| matches!(b, b',' | b';' | b'&' | b'|')).unwrap_or(units.len());
        let next = units.get(core).copied().or(text.next);
        let marks = |ends: &[u8], units: &[u8]| {
            units.iter().rposition(|b| *b != OTHER && !ends.contains(b)).map_or(0, |at| at + 1)
        };
        let value = &units[..marks(b".!?:", &units[..core])];
        let call = matches!(next, Some(b'(' | b'[' | b'{'));
        let secret = !call
            && !self.is_name(value)
            && random::value(value, self.password && random::entropy(value) > 2.0)
            && (!self.is_prose() || random::kinds(value) > 2)
            && (!self.bare || self.is_drawn(value));
        secret.then(|| marks(b".?:", units))
    }

    /// All of what stands in quotes, or its first word.
    fn judge_quoted(&self, text: Text<'_>) -> Option<usize> {
        let units = text.units;
        let first = units.iter().position(|b| matches!(b, b' ' | b'\t')).unwrap_or(units.len());
        let closed = match text.next {
            Some(b'\\') => self.backslashed,
            next => next == Some(self.quote) && !self.backslashed,
        };
        // Without a quote that closes it ends as one without quotes does.
        let end = if closed { units.len() } else { solid_len(&units[..first]) };
        let random = random::value(&units[..first.min(end)], self.password);
        let secret = random || closed && self.password && is_app_password(units);
        (secret && (!self.is_prose() || random::kinds(units) > 2)).then_some(end)
    }

    /// `password == password2`, `token: SESSION_TOKEN_2`, `key: Curve25519Seed`: a variable, constant or type.
    fn is_name(&self, value: &[u8]) -> bool {
        let identifier = value.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_');
        identifier && (self.compares || random::names_type(value, self.password))
    }

    /// Whether a value is known by itself, as behind `ENV TOKEN` or in `.netrc`, not by what stands before it.
    fn is_drawn(&self, value: &[u8]) -> bool {
        let padding = value.iter().rev().take_while(|b| **b == b'=').count();
        let kinds = random::kinds(value);
        let drawn = if self.password {
            value.len() >= 10 && kinds > 3 && !value.contains(&b'/')
        } else {
            value.len() >= 24 && random::key(value) && value.iter().filter(|b| b.is_ascii_digit()).count() > 1
        };
        drawn && !value[..value.len() - padding].iter().any(|b| matches!(b, b'=' | b':'))
    }

    /// `boarding pass: LH1234`
    fn is_prose(&self) -> bool {
        self.pass && self.lead == Lead::Word
    }

    pub(super) fn is_in_value(&self) -> bool {
        self.is_value() && self.value >= 4
    }

    /// Whether the value has begun: names inside of it are no names.
    pub(in crate::scan) fn has_value(&self) -> bool {
        !self.bare && self.is_value()
    }

    fn is_value(&self) -> bool {
        matches!(self.part, Part::Value | Part::Tail { .. })
    }
}

/// Four times four letters, as Google makes passwords for apps.
fn is_app_password(units: &[u8]) -> bool {
    let mut groups = units.split(|b| *b == b' ');
    units.len() == 19 && groups.all(|group| group.len() == 4 && group.iter().all(u8::is_ascii_lowercase))
}

/// Units up to the first that stands in no value but for quotes.
fn solid_len(units: &[u8]) -> usize {
    const IN_QUOTES: &[u8] = b"()<>{}[],;&|";
    units.iter().position(|b| !is_solid(*b) && !IN_QUOTES.contains(b)).unwrap_or(units.len())
}

/// What may follow a secret's name in a longer one: `_key`, `Value`, `_prod_2`; not `_name`, `_count`, `izer`.
fn is_suffix(mut suffix: &[u8]) -> bool {
    const PARTS: [&[u8]; 25] = [
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
        b"code",
        b"wort",
        b"base",
        b"e",
        b"na",
        b"\x80a",
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
                | IDEOGRAPH
        )
}
