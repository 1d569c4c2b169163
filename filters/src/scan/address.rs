//! IP addresses: which are left alone, and IPv6 in its written forms (RFC 4291 section 2.2, RFC 4007 section 11).

use std::net::{Ipv4Addr, Ipv6Addr};

use super::Exemption;
use super::units::is_word;

/// Whether an exemption covers an IPv4 address.
pub(super) fn exempt_v4(octets: [u8; 4], exempt: &[Exemption]) -> bool {
    let address = Ipv4Addr::from(octets);
    exempt.iter().any(|exemption| match exemption {
        Exemption::LoopbackAddresses => {
            address.is_loopback() || address.is_unspecified() || address.is_broadcast() || octets[0] == 255
        }
        Exemption::PrivateAddresses => {
            address.is_private()
                || address.is_link_local()
                || octets[0] == 100 && octets[1] & 0xc0 == 64
                || address.is_multicast()
        }
        Exemption::DocumentationAddresses => address.is_documentation(),
        Exemption::ExampleDomains | Exemption::CodeHostAddresses => false,
    })
}

fn exempt_v6(address: Ipv6Addr, exempt: &[Exemption]) -> bool {
    let segments = address.segments();
    let mapped = address.to_ipv4_mapped().is_some_and(|v4| exempt_v4(v4.octets(), exempt));
    mapped
        || exempt.iter().any(|exemption| match exemption {
            Exemption::LoopbackAddresses => address.is_loopback() || address.is_unspecified(),
            Exemption::PrivateAddresses => {
                address.is_unique_local() || address.is_unicast_link_local() || address.is_multicast()
            }
            Exemption::DocumentationAddresses => {
                segments[0] == 0x2001 && segments[1] == 0xdb8 || segments[0] == 0x3fff && segments[1] < 0x1000
            }
            Exemption::ExampleDomains | Exemption::CodeHostAddresses => false,
        })
}

/// Length of the IPv6 address that `text` begins with, zone and prefix length included, if it is one to be found.
pub(super) fn ipv6(text: &[u8], exempt: &[Exemption]) -> Option<usize> {
    let run =
        text.iter().position(|b| !(b.is_ascii_hexdigit() || matches!(b, b':' | b'.'))).unwrap_or(text.len());
    let address = std::str::from_utf8(&text[..run]).ok()?.trim_end_matches('.');
    // `fe80::1:` at the end of a clause.
    let address = match address.strip_suffix(':') {
        Some(shorter) if !shorter.ends_with(':') => shorter,
        _ => address,
    };
    // `2001:db8::1.53` is a port's.
    let port =
        || address.rsplit_once('.').map(|(address, _)| address).filter(|address| !address.contains('.'));
    let (address, parsed) = match (address.parse::<Ipv6Addr>(), port()) {
        (Ok(parsed), _) => (address, parsed),
        (Err(_), Some(address)) => (address, address.parse().ok()?),
        (Err(_), None) => return None,
    };
    let digits = address.bytes().filter(u8::is_ascii_hexdigit).count();
    let groups = address.split(':').filter(|group| !group.is_empty()).count();
    let has_number = address.bytes().any(|b| b.is_ascii_digit());
    // Short forms with `::` are slices, scopes and times as often as addresses.
    let long_group = address.split(':').any(|group| group.len() >= 3);
    let digit_groups = address.split(':').all(|group| group.len() <= 1);
    // `bed::300`, `Fe::Fe2`: of two groups the first is one that is given out.
    let scope = groups == 2 && !address.starts_with(':') && !is_given_out(parsed.segments()[0]);
    // EUI-64 identifiers.
    let identifier = groups == 8 && address.split(':').all(|group| group.len() == 2);
    if digits < 4
        || !has_number
        || groups < 2 && !address.ends_with("::")
        || !long_group && groups < 5
        || digit_groups
        || scope
        || identifier
    {
        return None;
    }
    if exempt_v6(parsed, exempt) {
        return None;
    }
    Some(address.len() + suffix(&text[address.len()..]))
}

/// Whether addresses may begin with this group (IANA's registries of address space and special addresses).
const fn is_given_out(group: u16) -> bool {
    matches!(group, 0x2000..=0x3fff | 0x64 | 0x100 | 0x5f00 | 0xfc00..=0xfdff | 0xfe80..=0xffff)
}

/// Length of the `::1` that `text` begins with, prefix length included, by what stands before: not `a[::1]`, `s![.., ::1]`.
pub(super) fn loopback(
    text: &[u8],
    near: Option<u8>,
    far: Option<u8>,
    next: Option<u8>,
    exempt: &[Exemption],
) -> Option<usize> {
    let rest = text.strip_prefix(b"::1")?;
    let len = 3 + suffix(rest);
    let after = text.get(len).copied().or(next);
    let begins = match near {
        None | Some(b'"' | b'\'' | b'`' | b'=' | b'@' | b'>' | b'<' | b'|' | b';' | b'\n' | b'\t') => true,
        Some(b'[') => !far.is_some_and(|unit| is_word(unit) || matches!(unit, b']' | b')' | b'!')),
        Some(b' ' | b'(' | b',') => !matches!(far, Some(b',' | b'[' | b'(')),
        Some(unit) => !unit.is_ascii(),
    };
    let ends = !matches!(after, Some(b']' | b':' | b',')) || after == Some(b']') && near == Some(b'[');
    let other = exempt_v6(Ipv6Addr::LOCALHOST, exempt);
    (begins && ends && !other).then_some(len)
}

/// Length of `%zone` and `/prefix`.
fn suffix(text: &[u8]) -> usize {
    let mut len = 0;
    if text.first() == Some(&b'%') {
        let zone =
            text[1..].iter().take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
        let zone = &text[1..=zone.count()];
        len = zone.iter().rposition(u8::is_ascii_alphanumeric).map_or(0, |last| last + 2);
    }
    if text.get(len) == Some(&b'/') {
        let digits = text[len + 1..].iter().take_while(|b| b.is_ascii_digit()).count();
        if (1..=3).contains(&digits) {
            len += digits + 1;
        }
    }
    len
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_forms() {
        for (text, expect) in [
            ("2001:db8::1", Some(11)),
            ("fe80::1%eth0/64 ", Some(15)),
            ("2a00:1450:4001::/48", Some(19)),
            ("::ffff:192.0.2.128", Some(18)),
            ("64:ff9b::192.0.2.33.", Some(19)),
            ("2001:db8:85a3:0:0:8a2e:370:7334", Some(31)),
            ("fe80::1:", Some(7)),
            ("12:30:45", None),
            ("::1", None),
            ("a::b", None),
            ("1::2", None),
            ("1:0:1:0:1:0:1:0", None),
            ("dead::beef", None),
            ("::", None),
        ] {
            assert_eq!(ipv6(text.as_bytes(), &[]), expect, "{text}");
        }
        assert_eq!(ipv6(b"2001:db8::1", &[Exemption::DocumentationAddresses]), None);
        assert_eq!(ipv6(b"fe80::1:2", &[Exemption::PrivateAddresses]), None);
    }

    /// Each of these fails for one reason alone; beside it one that just passes.
    #[test]
    fn short_forms_need_more_than_the_form() {
        for (text, expect) in [
            // Four digits.
            ("100::", None),
            ("100::1", Some(6)),
            // One of them a decimal.
            ("fdad:beef::", None),
            ("fdad:bee1::", Some(11)),
            // The first of two given out.
            ("dead:bee1::", None),
            ("bed::300", None),
            ("1024::80", None),
            // Eight groups of two.
            ("00:1b:44:11:3a:b7:00:01", None),
            ("00:1b:44:11:3a:b7:0:01", Some(22)),
            // Two groups, or a prefix.
            ("::2a00", None),
            ("2a00::", Some(6)),
            ("2a00::1", Some(7)),
            // A group of three, or five groups.
            ("2a:1b:3c::4d", None),
            ("2a:1b:3cd::4d", Some(13)),
            ("2a:1b:3c:4d::5e", Some(15)),
            // A group of two.
            ("1:2:3:4:5:6:7:8", None),
            ("1:2:3:4:5:6:7:80", Some(16)),
            // Zones and prefix lengths.
            ("fe80::1%", Some(7)),
            ("fe80::1%%", Some(7)),
            ("fe80::1/", Some(7)),
            ("fe80::1/128", Some(11)),
            ("fe80::1/1280", Some(7)),
            ("fe80::1%en0/64x", Some(14)),
        ] {
            assert_eq!(ipv6(text.as_bytes(), &[]), expect, "{text}");
        }
    }

    #[test]
    fn the_loopback_address_stands_apart() {
        for (before, rest, expect) in [
            ("", "::1", Some(3)),
            ("", "::1/128", Some(7)),
            ("", "::1.", Some(3)),
            ("", "::2", None),
            ("to ", "::1 or", Some(3)),
            ("to (", "::1)", Some(3)),
            ("to ((", "::1)", None),
            ("host=", "::1", Some(3)),
            ("本", "::1", Some(3)),
            ("a", "::1", None),
            ("[", "::1]:8080", Some(3)),
            ("=[", "::1]", Some(3)),
            ("a[", "::1]", None),
            ("a][", "::1]", None),
            ("f()[", "::1]", None),
            ("s![", "::1]", None),
            ("s![.., ", "::1]", None),
            ("x[ ", "::1", None),
            ("x ", "::1]", None),
            ("x ", "::1:", None),
            ("x ", "::1,", None),
            ("[", "::1,", None),
        ] {
            let mut before = before.chars().rev();
            let mut unit = || before.next().map(|c| u8::try_from(c).unwrap_or(crate::scan::units::IDEOGRAPH));
            let (near, far) = (unit(), unit());
            assert_eq!(loopback(rest.as_bytes(), near, far, None, &[]), expect, "{rest} after {near:?}");
            let (text, next) = rest.as_bytes().split_at(expect.unwrap_or(3));
            assert_eq!(loopback(text, near, far, next.first().copied(), &[]), expect, "{rest} cut");
        }
        assert_eq!(loopback(b"::1", None, None, None, &[Exemption::LoopbackAddresses]), None);
        assert_eq!(loopback(b"::1", None, None, None, &[Exemption::PrivateAddresses]), Some(3));
    }

    /// RFC 6890, RFC 6598 (100.64.0.0/10), RFC 5737, RFC 3849 and RFC 9637 (3fff::/20).
    #[test]
    fn exemptions_end_where_their_blocks_end() {
        use Exemption::{
            DocumentationAddresses as Documentation, LoopbackAddresses as Loopback,
            PrivateAddresses as Private,
        };
        for (address, expect) in [
            ("127.0.0.1", Some(Loopback)),
            ("128.0.0.1", None),
            ("0.0.0.0", Some(Loopback)),
            ("0.0.0.1", None),
            ("255.255.255.255", Some(Loopback)),
            ("255.255.254.0", Some(Loopback)), // a netmask
            ("254.255.255.255", None),
            ("10.1.2.3", Some(Private)),
            ("11.1.2.3", None),
            ("172.31.255.255", Some(Private)),
            ("172.32.0.0", None),
            ("192.168.1.1", Some(Private)),
            ("169.254.1.1", Some(Private)),
            ("100.63.255.255", None),
            ("100.64.0.0", Some(Private)),
            ("100.127.255.255", Some(Private)),
            ("100.128.0.0", None),
            ("101.64.0.0", None),
            ("224.0.0.251", Some(Private)),
            ("192.0.2.1", Some(Documentation)),
            ("198.51.100.1", Some(Documentation)),
            ("203.0.113.1", Some(Documentation)),
            ("8.8.8.8", None),
            ("::1", Some(Loopback)),
            ("::", Some(Loopback)),
            ("::2", None),
            ("fd00::1", Some(Private)),
            ("fe80::1", Some(Private)),
            ("ff02::1", Some(Private)),
            ("2001:db8::1", Some(Documentation)),
            ("2001:db9::1", None),
            ("2002:db8::1", None),
            ("3fff::1", Some(Documentation)),
            ("3fff:fff:ffff::1", Some(Documentation)),
            ("3fff:1000::1", None),
            ("3ffe::1", None),
            ("2a00:1450::1", None),
            ("::ffff:10.0.0.1", Some(Private)),
            ("::ffff:203.0.113.9", Some(Documentation)),
            ("::ffff:8.8.8.8", None),
        ] {
            for exemption in
                [Loopback, Private, Documentation, Exemption::ExampleDomains, Exemption::CodeHostAddresses]
            {
                let is_exempt = match address.parse().expect("an address") {
                    std::net::IpAddr::V4(v4) => exempt_v4(v4.octets(), &[exemption]),
                    std::net::IpAddr::V6(v6) => exempt_v6(v6, &[exemption]),
                };
                assert_eq!(is_exempt, expect == Some(exemption), "{address} {exemption:?}");
            }
        }
    }
}
