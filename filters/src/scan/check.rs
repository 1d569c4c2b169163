//! Validators: what tells a value from a number or word of the same form. Pure, over units.

pub(super) mod card;
pub(super) mod iban;
pub(super) mod plan;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn social_security_numbers() {
        for (digits, expect) in [
            ("219099998", true),
            ("000121234", false),
            ("666121234", false),
            ("900121234", false),
            ("219009998", false),
            ("219090000", false),
            ("111111111", false),
            ("119111111", true),
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
