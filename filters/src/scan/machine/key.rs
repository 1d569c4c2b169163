//! Secrets with a published form: prefixed keys, JSON web tokens, PEM blocks, URLs with a password.

use super::{Rest, Step, Swallowed, Text};
use crate::scan::check::random;
use crate::scan::email;
use crate::scan::rules::{KeyForm, Rules};
use crate::scan::units::LETTER;

/// Most units before the mark of a key that has it in the middle.
pub(in crate::scan) const MAX_LED: usize = 80;

/// What such a key may begin with.
pub(in crate::scan) const fn in_lead(unit: u8) -> bool {
    email::in_local(unit) || matches!(unit, b'/' | b'~')
}

/// A prefix and a run of a class behind it; before it, where it is a mark in the middle, another run.
#[derive(Debug, Clone)]
pub(in crate::scan) struct Key {
    /// Index of its rule's body in `Rules::keys`.
    pub(in crate::scan) key: u16,
    /// Units of the prefix that were read.
    pub(in crate::scan) matched: u16,
    pub(in crate::scan) body: u16,
    /// Units before the prefix that belong to the value.
    pub(in crate::scan) led: u16,
}

impl Key {
    pub(super) fn feed(&mut self, unit: u8, rules: &Rules) -> Step {
        let form = &rules.keys[usize::from(self.key)];
        if let Some(expected) = form.prefix.get(usize::from(self.matched)) {
            if unit != *expected {
                return Step::Ended;
            }
            self.matched += 1;
            let whole = form.min == 0 && usize::from(self.matched) == form.prefix.len();
            return if whole { Step::Mark } else { Step::More };
        }
        if !form.class[usize::from(unit)] {
            return Step::Ended;
        }
        self.body += 1;
        let body = usize::from(self.body);
        match form.max {
            _ if body == 1 && form.label && form.min > 1 => Step::Begin,
            None if body == form.min => Step::Committed(Rest::Class(self.key)),
            Some(max) if body > max => Step::Ended,
            Some(_) if body >= form.min => Step::Mark,
            _ => Step::More,
        }
    }

    pub(super) fn judge(&self, text: Text<'_>, rules: &Rules) -> bool {
        let form = &rules.keys[usize::from(self.key)];
        let Some(lead) = self.lead(form, text) else { return false };
        let prefix = lead + if form.label { 0 } else { form.prefix.len() };
        let body = &text.units[prefix.min(text.units.len())..];
        let fits = body.len() >= form.min && form.max.is_none_or(|max| usize::from(self.body) <= max);
        let ends = form.max.is_none()
            || !text.next.is_some_and(|unit| unit.is_ascii_alphanumeric() || form.class[usize::from(unit)]);
        let random =
            || if lead == 0 { random::key(body) } else { random::key(&[&text.units[..lead], body].concat()) };
        fits && ends && (!form.random || random())
    }

    /// Units before the mark; `None` where more or fewer stand there than may.
    fn lead(&self, form: &KeyForm, text: Text<'_>) -> Option<usize> {
        let Some(lead) = &form.lead else { return Some(0) };
        let units = usize::from(self.led);
        let word = |unit: u8| unit.is_ascii_alphanumeric() || unit == LETTER;
        let letters = (b'a'..=b'z').chain(b'A'..=b'Z').any(|unit| lead.class[usize::from(unit)]);
        // `bot123456:…` begins with its digits.
        let goes_on =
            text.before.is_some_and(|unit| word(unit) && (letters || lead.class[usize::from(unit)]));
        ((lead.min..=lead.max).contains(&units) && !goes_on).then_some(units)
    }

    pub(super) fn is_past_prefix(&self, rules: &Rules) -> bool {
        usize::from(self.matched) == rules.keys[usize::from(self.key)].prefix.len()
    }
}

pub(super) const fn is_base64url(unit: u8) -> bool {
    unit.is_ascii_alphanumeric() || unit == b'_' || unit == b'-'
}

/// JSON web token (RFC 7515 section 3.1): `eyJ…`, a dot, and a payload, at ten characters of which it commits.
#[derive(Debug, Clone, Default)]
pub(in crate::scan) struct Jwt {
    header: u16,
    payload: u8,
}

const MAX_HEADER: u16 = 290;
const MIN_HEADER: u16 = 16;
const MIN_PAYLOAD: u8 = 10;
/// Longest hold of a token: header, dot, payload.
pub(in crate::scan) const MAX_JWT: usize = MAX_HEADER as usize + 1 + MIN_PAYLOAD as usize;

impl Jwt {
    pub(super) fn feed(&mut self, unit: u8) -> Step {
        match unit {
            b'.' if self.header >= MIN_HEADER && self.payload == 0 => self.payload = 1,
            _ if !is_base64url(unit) => return Step::Ended,
            _ if self.payload == 0 => {
                self.header += 1;
                if self.header > MAX_HEADER {
                    return Step::Ended;
                }
            }
            _ => {
                self.payload += 1;
                if self.payload > MIN_PAYLOAD {
                    return Step::Committed(Rest::Token);
                }
            }
        }
        Step::More
    }

    pub(super) fn is_past_prefix(&self) -> bool {
        self.header >= MIN_HEADER
    }
}

/// PEM block of a private key (RFC 7468 section 2): its first line, then headers, then base64, at twenty characters of which
/// it commits.
#[derive(Debug, Clone, Default)]
pub(in crate::scan) struct Pem {
    label: u8,
    /// `PRIVATE KEY` so far.
    private: u8,
    is_private: bool,
    dashes: u8,
    /// Four dashes and a space, not five (RFC 4716).
    short: bool,
    in_body: bool,
    headers: u8,
    run: u8,
    /// The run has a digit or a plus in it: no name of a function.
    drawn: bool,
}

const BEGIN: &[u8] = b"-----BEGIN ";
const MAX_LABEL: u8 = 44;
const MAX_HEADERS: u8 = 200;
const MIN_BASE64: u8 = 20;
/// The same of letters alone.
const MIN_LETTERS: u8 = 40;
/// Units of base64 in a row that say that a block goes on, and units without such a run past which it does not.
const LINE: u8 = 16;
const MAX_IDLE: u8 = 80;
/// Longest hold of a block.
pub(in crate::scan) const MAX_PEM: usize =
    BEGIN.len() + MAX_LABEL as usize + 6 + MAX_HEADERS as usize + MIN_BASE64 as usize;
const _: () = assert!(MIN_LETTERS < MAX_HEADERS);

impl Pem {
    pub(super) fn feed(&mut self, unit: u8) -> Step {
        if self.in_body { self.feed_body(unit) } else { self.feed_label(unit) }
    }

    fn feed_label(&mut self, unit: u8) -> Step {
        const PRIVATE: &[u8] = b"PRIVATE KEY";
        let begin = BEGIN.len() as u8;
        self.label += 1;
        if self.label <= begin {
            self.short |= self.label == 5 && unit == b' ';
            let fits = unit == BEGIN[usize::from(self.label - 1)] || self.short && self.label == 5;
            return if fits { Step::More } else { Step::Ended };
        }
        match unit {
            b'-' if self.is_private => {
                self.dashes += 1;
                self.in_body = self.dashes == self.marks();
            }
            b'A'..=b'Z' | b' ' | b'0'..=b'9' if self.dashes == 0 && self.label <= begin + MAX_LABEL => {
                let expected = PRIVATE.get(usize::from(self.private));
                self.private = match expected {
                    Some(expected) if *expected == unit => self.private + 1,
                    _ => u8::from(unit == b'P'),
                };
                self.is_private |= usize::from(self.private) == PRIVATE.len();
            }
            _ => return Step::Ended,
        }
        Step::More
    }

    /// Dashes on either side of the first line and the last.
    fn marks(&self) -> u8 {
        if self.short { 4 } else { 5 }
    }

    /// Whatever stands between the first line and the base64: headers, quotes, comments, numbers of lines.
    fn feed_body(&mut self, unit: u8) -> Step {
        self.dashes = if unit == b'-' { self.dashes.saturating_add(1) } else { 0 };
        if is_base64(unit) {
            self.run += 1;
            self.drawn |= unit.is_ascii_digit() || unit == b'+';
            if self.run >= MIN_BASE64 && (self.drawn || self.run == MIN_LETTERS) {
                return Step::Committed(Rest::Pem(PemRest::new(self.marks())));
            }
        } else {
            (self.run, self.drawn) = (0, false);
        }
        self.headers += 1;
        let ends = self.headers > MAX_HEADERS || self.dashes == self.marks() && self.headers > self.marks();
        if ends { Step::Ended } else { Step::More }
    }
}

const fn is_base64(unit: u8) -> bool {
    unit.is_ascii_alphanumeric() || matches!(unit, b'+' | b'/')
}

/// The rest of a block, up to its last line, whatever its lines begin and end with, as long as runs of [`LINE`] characters of base64 come:
/// one that is wrapped below that is swallowed no farther than [`MAX_IDLE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::scan) struct PemRest {
    /// Dashes on either side of the last line.
    marks: u8,
    dashes: u8,
    closing: bool,
    run: u8,
    idle: u8,
}

impl PemRest {
    fn new(marks: u8) -> PemRest {
        PemRest { marks, dashes: 0, closing: false, run: 0, idle: 0 }
    }

    pub(super) fn take(&mut self, unit: u8) -> Swallowed {
        self.run = if is_base64(unit) { self.run.saturating_add(1) } else { 0 };
        self.idle = if self.run < LINE { self.idle + 1 } else { 0 };
        if self.idle > MAX_IDLE {
            return Swallowed::No;
        }
        self.dashes = if unit == b'-' { self.dashes + 1 } else { 0 };
        if self.dashes < self.marks {
            return Swallowed::Yes;
        }
        self.dashes = 0;
        if std::mem::replace(&mut self.closing, true) { Swallowed::Last } else { Swallowed::Yes }
    }
}

/// `scheme://user:password@host` (RFC 3986 section 3.2.1); commits at the host's first character.
#[derive(Debug, Clone)]
pub(in crate::scan) struct Url {
    /// Index of the scheme in `Rules::keys`.
    key: u16,
    matched: u16,
    part: UrlPart,
    units: u8,
    /// The password has had digits alone: it may be a port.
    port: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UrlPart {
    User,
    Password,
    Host,
}

/// What stands for all schemes (RFC 3986 section 3.1): they begin before it.
pub(in crate::scan) const ANY_SCHEME: &str = "://";
pub(in crate::scan) const MAX_SCHEME: usize = 24;
const MAX_USER: u8 = 64;
const MAX_PASSWORD: u8 = 160;
/// Characters of a token that stands for user and password.
const MIN_TOKEN: usize = 20;
/// Longest hold of a URL: scheme, user, password, and one character of the host.
pub(in crate::scan) const MAX_URL: usize = MAX_SCHEME + MAX_USER as usize + 1 + MAX_PASSWORD as usize + 2;

pub(in crate::scan) const fn in_scheme(unit: u8) -> bool {
    unit.is_ascii_alphanumeric() || matches!(unit, b'+' | b'.' | b'-')
}

impl Url {
    pub(in crate::scan) fn new(key: u16) -> Url {
        Url { key, matched: 0, part: UrlPart::User, units: 0, port: true }
    }

    pub(super) fn feed(&mut self, unit: u8, rules: &Rules) -> Step {
        let scheme = &rules.keys[usize::from(self.key)].prefix;
        if let Some(expected) = scheme.get(usize::from(self.matched)) {
            self.matched += 1;
            return if unit.eq_ignore_ascii_case(expected) { Step::More } else { Step::Ended };
        }
        self.units += 1;
        match (self.part, unit) {
            (UrlPart::User, b':') => (self.part, self.units) = (UrlPart::Password, 0),
            (UrlPart::Password, b'@') if self.units > 1 => self.part = UrlPart::Host,
            (UrlPart::User, b'@') if usize::from(self.units) > MIN_TOKEN => self.part = UrlPart::Host,
            (UrlPart::Host, _)
                if unit.is_ascii_alphanumeric() || matches!(unit, b'[' | b'$' | b'{' | b'<' | b'_') =>
            {
                return Step::Committed(Rest::Solid);
            }
            (UrlPart::Host, _) | (_, b'/' | b'?' | b'@') | (UrlPart::User, b'#') => return Step::Ended,
            (part, _) => {
                let max = if part == UrlPart::User { MAX_USER } else { MAX_PASSWORD };
                let mark = part == UrlPart::Password
                    && !self.port
                    && matches!(unit, b';' | b'&' | b',' | b'(' | b')' | b'|');
                self.port &= part == UrlPart::User || unit.is_ascii_digit();
                if self.units > max || !mark && !super::assignment::is_solid(unit) {
                    return Step::Ended;
                }
            }
        }
        Step::More
    }

    pub(super) fn is_in_password(&self) -> bool {
        self.part != UrlPart::User
    }
}

/// Whether the password of `scheme://user:password@h` is one.
pub(super) fn has_password(url: &[u8]) -> bool {
    let Some(from) = memchr::memmem::find(url, b"://") else { return false };
    let Some(to) = memchr::memrchr(b'@', url) else { return false };
    let Some(colon) = memchr::memchr(b':', &url[from + 3..to]) else {
        // A token in the place of the user.
        let token = &url[from + 3..to];
        return token.len() >= MIN_TOKEN && random::key(token);
    };
    let user = &url[from + 3..from + 3 + colon];
    let password = &url[from + 3 + colon + 1..to];
    let lower = password.to_ascii_lowercase();
    const STOPS: [&[u8]; 14] = [
        b"password",
        b"passwd",
        b"pass",
        b"pwd",
        b"secret",
        b"pw",
        b"p",
        b"x",
        b"xxx",
        b"***",
        b"...",
        b"token",
        b"port",
        b"your",
    ];
    // `%s`, `%(password)s`, `%PASSWORD%`, not what is percent-encoded.
    let directive =
        password[0] == b'%' && (password.len() <= 3 || password[1] == b'(' || password.ends_with(b"%"));
    let template = directive
        || matches!(password[0], b'$' | b'<' | b'{' | b'[')
        || lower.ends_with(b"}")
        || lower.ends_with(b">");
    let stars = password.iter().all(|b| *b == password[0]);
    // `guest:guest`
    !template
        && !user.eq_ignore_ascii_case(password)
        && !stars
        && !STOPS.contains(&lower.as_slice())
        && memchr::memmem::find(&lower, b"your").is_none()
        && memchr::memmem::find(&lower, b"xxxx").is_none()
        && memchr::memmem::find(&lower, b"placeholder").is_none()
}
