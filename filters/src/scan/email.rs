//! E-mail addresses: what stands around an `@` (RFC 5321 section 4.5.3.1 for the lengths).

use super::Exemption;
use super::units::{IDEOGRAPH, LETTER};

/// Longest local part, in characters.
pub(super) const MAX_LOCAL: usize = 64;
/// Longest domain that is looked at.
pub(super) const MAX_DOMAIN: usize = 254;
/// Longest part of a domain between dots (RFC 1035 section 2.3.4).
pub(super) const MAX_LABEL: usize = 63;
/// Ideographs of a local part: text in scripts without spaces would be held back all the time.
pub(super) const MAX_IDEOGRAPHS: usize = 4;

const TOP_LEVEL: &str = include_str!("../../../conf/rules/tlds.txt");

/// Those that attributes and files are hardly ever called.
const GENERIC: [&[u8]; 5] = [b"com", b"net", b"org", b"edu", b"gov"];

/// Codes of countries that no method is called, as `to`, `is` and `at` are.
const COUNTRIES: [&[u8]; 26] = [
    b"au", b"be", b"br", b"ca", b"ch", b"cn", b"cz", b"de", b"dk", b"es", b"eu", b"fi", b"fr", b"gr", b"hu",
    b"jp", b"kr", b"nl", b"pl", b"pt", b"ro", b"ru", b"se", b"ua", b"uk", b"us",
];

/// What files are called, of which one before the last label may be a top-level domain.
const FILES: [&[u8]; 16] = [
    b"js", b"jsx", b"mjs", b"ts", b"tsx", b"css", b"html", b"json", b"xml", b"png", b"svg", b"jpg", b"rb",
    b"php", b"log", b"service",
];

/// Names of top-level domains, sorted.
#[derive(Debug)]
pub(super) struct TopLevel(Vec<&'static str>);

impl TopLevel {
    pub(super) fn new() -> TopLevel {
        let lines = TOP_LEVEL.lines().filter(|line| !line.starts_with('#'));
        let mut names: Vec<&str> = lines.flat_map(str::split_whitespace).collect();
        names.sort_unstable();
        TopLevel(names)
    }

    fn contains(&self, label: &[u8]) -> bool {
        if label.iter().any(|b| *b >= 0x80) && !label.iter().any(u8::is_ascii_digit) {
            return true;
        }
        let mut lower = [0; MAX_LABEL];
        let Some(lower) = lower.get_mut(..label.len()) else { return false };
        lower.copy_from_slice(label);
        lower.make_ascii_lowercase();
        // `alice@corp.comand`, `alice@corp.deTel`: the next word begins at once.
        let glued = GENERIC.iter().any(|known| lower.starts_with(known))
            || label.get(2).is_some_and(u8::is_ascii_uppercase) && COUNTRIES.contains(&&label[..2]);
        glued
            || lower.starts_with(b"xn--")
            || self.0.binary_search_by(|name| name.as_bytes().cmp(lower)).is_ok()
    }
}

/// Whether a unit can stand in a local part that has no ideographs.
pub(super) const fn in_local(unit: u8) -> bool {
    unit.is_ascii_alphanumeric() || matches!(unit, b'.' | b'_' | b'%' | b'+' | b'-' | b'\'') || unit == LETTER
}

/// Whether a unit can stand in a domain; ideographs only in one that begins with them.
pub(super) const fn in_domain(unit: u8, ideographs: bool) -> bool {
    unit.is_ascii_alphanumeric()
        || matches!(unit, b'.' | b'-')
        || unit == LETTER
        || ideographs && unit == IDEOGRAPH
}

/// The part of `text`, everything that can belong to an address around its `@`, that is one; and whether it is exempt.
pub(super) fn address(text: &[u8], next: Option<u8>, top: &TopLevel) -> Option<(usize, usize)> {
    let at = text.iter().position(|b| *b == b'@')?;
    // Two dots end what stands before them: `see..alice@corp.com`.
    let dots = text[..at].windows(2).rposition(|pair| pair == b"..").map_or(0, |dots| dots + 2);
    let from = dots
        + text[dots..at]
            .iter()
            .position(|b| b.is_ascii_alphanumeric() || matches!(*b, b'_' | LETTER | IDEOGRAPH))?;
    let domain = &text[at + 1..];
    // The end of a sentence, or whatever follows the last whole label.
    let len = domain.windows(2).position(|pair| pair == b"..").unwrap_or(domain.len());
    let mut end = len - domain[..len].iter().rev().take_while(|b| matches!(b, b'.' | b'-')).count();
    let whole = end;
    loop {
        let last = domain[..end].iter().rposition(|b| *b == b'.')?;
        if top.contains(&domain[last + 1..end]) && domain_name(&domain[..end]) {
            break;
        }
        // `alice@corp.com.then`: a sentence that begins at once; not `render@chunk.app.js`.
        if FILES.contains(&&domain[last + 1..end]) && !is_generic(&domain[..last]) {
            return None;
        }
        end = last;
    }
    // `a@b.to(…)` is a product of matrices, not `alice@corp.com(work)`.
    let method = end == whole && len == domain.len() && next == Some(b'(');
    let call = method && !is_generic(&domain[..end]) && !is_of_a_country(&domain[..end]);
    (!call && !version(&domain[..end])).then_some((from, at + 1 + end))
}

fn is_generic(domain: &[u8]) -> bool {
    GENERIC.iter().any(|name| domain.ends_with(name))
}

fn is_of_a_country(domain: &[u8]) -> bool {
    COUNTRIES.iter().any(|name| domain.strip_suffix(*name).is_some_and(|rest| rest.ends_with(b".")))
}

fn domain_name(domain: &[u8]) -> bool {
    domain.split(|b| *b == b'.').all(|label| {
        (1..=MAX_LABEL).contains(&label.len()) && !label.starts_with(b"-") && !label.ends_with(b"-")
    })
}

/// `package@1.2.3-rc.build`, `@v1.2.beta`: a version after the `@`.
fn version(domain: &[u8]) -> bool {
    let domain = domain.strip_prefix(b"v").unwrap_or(domain);
    let digits = domain.iter().take_while(|b| b.is_ascii_digit()).count();
    digits > 0 && domain.get(digits) == Some(&b'.') && domain.get(digits + 1).is_some_and(u8::is_ascii_digit)
}

/// Whether an exemption covers an address.
pub(super) fn exempt(address: &[u8], exempt: &[Exemption]) -> bool {
    let lower = address.to_ascii_lowercase();
    let Some(at) = lower.iter().position(|b| *b == b'@') else { return false };
    let (local, domain) = (&lower[..at], &lower[at + 1..]);
    let under = |name: &str| {
        domain.strip_suffix(name.as_bytes()).is_some_and(|rest| rest.is_empty() || rest.ends_with(b"."))
    };
    exempt.iter().any(|exemption| match exemption {
        Exemption::ExampleDomains => {
            ["example.com", "example.net", "example.org", "example", "test", "invalid", "localhost", "local"]
                .iter()
                .any(|name| under(name))
        }
        Exemption::CodeHostAddresses => {
            local == b"git"
                || under("users.noreply.github.com")
                || local.starts_with(b"noreply")
                || local == b"no-reply"
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let top = TopLevel::new();
        for (text, expect) in [
            ("alice@corp.com", Some("alice@corp.com")),
            ("'alice@corp.com", Some("alice@corp.com")),
            ("o'brien@corp.co.uk", Some("o'brien@corp.co.uk")),
            ("alice@corp.com.", Some("alice@corp.com")),
            ("alice@corp.com.Then", Some("alice@corp.com")),
            ("alice@corp.de.then", Some("alice@corp.de")),
            ("render@chunk.app.js", None),
            ("a@163.com", Some("a@163.com")),
            ("alice@corp.comand", Some("alice@corp.comand")),
            ("alice@corp.deTel", Some("alice@corp.deTel")),
            ("alice@corp.detail", None),
            ("alice@corp.toTel", None),
            ("alice@corp.com.then", Some("alice@corp.com")),
            ("a@xn--p1ai.xn--p1ai", Some("a@xn--p1ai.xn--p1ai")),
            ("lodash@4.17.21", None),
            ("react@18.0.0-rc.app", None),
            ("logo@2x.png", None),
            ("a..b@corp.com", Some("b@corp.com")),
            ("x@self.weight", None),
            ("root@localhost", None),
            ("alice@-corp.com", None),
            ("alice@corp-.com", None),
            ("alice@a-b.com", Some("alice@a-b.com")),
            (&format!("a@{}.com", "b".repeat(63)), Some(&format!("a@{}.com", "b".repeat(63)))),
            (&format!("a@{}.com", "b".repeat(64)), None),
            ("alice@corp.com.js", Some("alice@corp.com")),
            ("a@v.5.com", Some("a@v.5.com")),
            ("a@v1.5.com", None),
        ] {
            let found = address(text.as_bytes(), None, &top).map(|(from, to)| &text[from..to]);
            assert_eq!(found, expect, "{text}");
        }
        // Letters of other scripts, as units: any of them may be a top-level domain, but not with digits.
        assert_eq!(address(b"a@corp.\x80\x80", None, &top), Some((0, 9)));
        assert_eq!(address(b"a@corp.\x80\x802", None, &top), None);
        assert_eq!(address(b"\x81\x81@\x81.\x81", None, &top), Some((0, 6)));
        // What stands behind decides whether it is a call.
        for (text, next, len) in [
            ("alice@corp.de.then", b'(', Some(13)),
            ("a@b.to", b'(', None),
            ("a@b.fade", b'(', None),
            ("hans@firma.de", b'(', Some(13)),
            ("alice@corp.de.to", b'(', None),
            ("a@b.to", b' ', Some(6)),
            ("alice@corp.com", b'(', Some(14)),
        ] {
            assert_eq!(address(text.as_bytes(), Some(next), &top).map(|(_, end)| end), len, "{text}");
        }
    }

    #[test]
    fn exemptions() {
        for (text, expect) in
            [("a@example.com", true), ("a@mail.example.org", true), ("a@myexample.com", false)]
        {
            assert_eq!(exempt(text.as_bytes(), &[Exemption::ExampleDomains]), expect, "{text}");
        }
        for (text, expect) in [
            ("git@github.com", true),
            ("Git@code.corp.com", true),
            ("digit@corp.com", false),
            ("12+alice@users.noreply.github.com", true),
            ("alice@github.com", false),
            ("noreply@corp.com", true),
            ("noreply-2@corp.com", true),
            ("no-reply@corp.com", true),
            ("alice@noreply.corp.com", false),
        ] {
            assert_eq!(exempt(text.as_bytes(), &[Exemption::CodeHostAddresses]), expect, "{text}");
        }
    }
}
