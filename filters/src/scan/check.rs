//! Validators: what tells a value from a number or word of the same form. Pure, over units.

pub(super) mod card;
pub(super) mod iban;
pub(super) mod random;

/// Luhn checksum (ISO/IEC 7812-1 annex B) over ASCII digits.
pub(super) fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(i, digit)| {
            let value = u32::from(digit.wrapping_sub(b'0'));
            match (i % 2, value * 2) {
                (0, _) => value,
                (_, double @ 0..=9) => double,
                (_, double) => double - 9,
            }
        })
        .sum();
    sum.is_multiple_of(10)
}

/// Whether nine digits can be a social security number (SSA POMS RM 10201.035: no area 000, 666 or 900-999, no group 00, no
/// serial 0000).
pub(super) fn ssn(digits: &[u8]) -> bool {
    let [area @ .., _, _, _, _, _, _] = digits else { return false };
    digits.len() == 9
        && area != b"000"
        && area != b"666"
        && area[0] != b'9'
        && &digits[3..5] != b"00"
        && &digits[5..] != b"0000"
        && digits.iter().any(|digit| *digit != digits[0])
}

/// ISBN-10 with its checksum (ISO 2108), written without hyphens.
pub(super) fn isbn10(digits: &[u8]) -> bool {
    let sum: u32 =
        digits.iter().zip((1..=10).rev()).map(|(digit, weight)| u32::from(digit - b'0') * weight).sum();
    digits.len() == 10 && sum.is_multiple_of(11)
}

/// Whether ten digits can be a number of the North American Numbering Plan: area and exchange [2-9]XX, neither N11, area not
/// N9X (NANPA, 47 CFR 52.101).
pub(super) fn nanp(digits: &[u8]) -> bool {
    let [a, b, c, x, y, z, ..] = digits else { return false };
    let service = |p: &u8, q: &u8| *p == b'1' && *q == b'1';
    digits.len() == 10 && *a >= b'2' && *x >= b'2' && *b != b'9' && !service(b, c) && !service(y, z)
}

/// The same of a number that is written in groups: service codes are given out as exchanges all the same.
pub(super) fn is_grouped_nanp(digits: &[u8]) -> bool {
    let [a, b, c, x, ..] = digits else { return false };
    digits.len() == 10 && *a >= b'2' && *x >= b'2' && *b != b'9' && !(*b == b'1' && *c == b'1')
}

/// Whether the digits after a `+` can be an E.164 number: a country code in use (ITU-T E.164 annex) and a length it has.
pub(super) fn e164(digits: &[u8]) -> bool {
    let total = digits.len();
    let two = |at: usize| usize::from(digits[at] - b'0') * 10 + usize::from(digits[at + 1] - b'0');
    if !(7..=15).contains(&total) {
        return false;
    }
    match digits[0] {
        b'0' => false,
        b'1' => total == 11 && is_grouped_nanp(&digits[1..]),
        b'7' => total == 11 && matches!(digits[1], b'3' | b'4' | b'6'..=b'9'),
        _ => match two(0) {
            // Three-digit codes of these tens: a subscriber number of at least four digits.
            21..=26 | 29 | 35 | 37 | 38 | 42 | 50 | 59 | 67..=69 | 80 | 85 | 87 | 88 | 96..=99 => {
                // Saint Helena, Niue, Tokelau: numbers of four digits.
                let least = if matches!(&digits[..3], b"290" | b"683" | b"690") { 7 } else { 8 };
                (least..=15).contains(&total) && !unassigned(digits)
            }
            20 => (10..=12).contains(&total),
            27 => total == 11,
            28 | 83 | 89 => false,
            30 | 48 => (11..=12).contains(&total),
            31 | 33 | 34 | 41 | 61 => (10..=12).contains(&total),
            32 | 45 | 47 => (10..=11).contains(&total),
            44 => (11..=12).contains(&total),
            49 => (9..=15).contains(&total),
            52 | 55 | 86 | 91 | 90 => (12..=13).contains(&total),
            _ => (9..=14).contains(&total),
        },
    }
}

/// Three-digit country codes that are spare (ITU-T list of assigned country codes).
fn unassigned(digits: &[u8]) -> bool {
    matches!(
        &digits[..3],
        b"210"
            | b"214"
            | b"215"
            | b"217"
            | b"219"
            | b"259"
            | b"292"
            | b"293"
            | b"294"
            | b"295"
            | b"296"
            | b"384"
            | b"388"
            | b"422"
            | b"424"
            | b"425"
            | b"426"
            | b"427"
            | b"428"
            | b"429"
            | b"671"
            | b"684"
            | b"693"
            | b"694"
            | b"695"
            | b"696"
            | b"697"
            | b"698"
            | b"699"
            | b"801"
            | b"802"
            | b"803"
            | b"804"
            | b"805"
            | b"806"
            | b"807"
            | b"809"
            | b"851"
            | b"854"
            | b"857"
            | b"858"
            | b"859"
            | b"871"
            | b"872"
            | b"873"
            | b"874"
            | b"875"
            | b"876"
            | b"877"
            | b"879"
            | b"884"
            | b"885"
            | b"887"
            | b"889"
            | b"969"
            | b"978"
            | b"990"
            | b"991"
            | b"997"
            | b"999"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phone_plans() {
        for (digits, expect) in [
            ("12125550123", true),
            ("1609459200", false),
            ("16094592000", true),
            ("442079460958", true),
            ("33123456789", true),
            ("4930123456", true),
            ("0000000000", false),
            ("2145551234", false),
            ("35312345678", true),
            ("8613912345678", true),
            ("919876543210", true),
            ("1234567890123456", false),
        ] {
            assert_eq!(e164(digits.as_bytes()), expect, "{digits}");
        }
        assert!(nanp(b"2125550123") && !nanp(b"1125550123") && !nanp(b"2115550123") && !nanp(b"2129110123"));
    }

    #[test]
    fn social_security_numbers() {
        for (digits, expect) in [
            ("219099998", true),
            ("000121234", false),
            ("666121234", false),
            ("900121234", false),
            ("219009998", false),
            ("219090000", false),
        ] {
            assert_eq!(ssn(digits.as_bytes()), expect, "{digits}");
        }
    }

    #[test]
    fn checksums() {
        assert!(luhn(b"4111111111111111") && !luhn(b"4111111111111112"));
        assert!(isbn10(b"0306406152") && !isbn10(b"0306406153"));
    }
}
