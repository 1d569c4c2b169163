//! Payment card numbers: issuer ranges with their lengths (ISO/IEC 7812; the networks' published ranges).

use super::luhn;

/// `[first prefix, last prefix, digits of the prefix, shortest, longest]`
const RANGES: [[u32; 5]; 27] = [
    [34, 34, 2, 15, 15],     // American Express
    [37, 37, 2, 15, 15],     // American Express
    [300, 305, 3, 14, 19],   // Diners Club
    [3095, 3095, 4, 14, 19], // Diners Club
    [36, 36, 2, 14, 19],     // Diners Club
    [38, 39, 2, 14, 19],     // Diners Club
    [3528, 3589, 4, 16, 19], // JCB
    [3500, 3527, 4, 16, 16], // JCB, as test numbers are made
    [2131, 2131, 4, 15, 15], // JCB, old
    [604, 604, 4, 12, 16],   // Maestro, as test numbers are made
    [4, 4, 1, 13, 13],       // Visa, old
    [4, 4, 1, 16, 16],       // Visa
    [4, 4, 1, 19, 19],       // Visa
    [51, 55, 2, 16, 16],     // Mastercard
    [2221, 2720, 4, 16, 16], // Mastercard, 2-series
    [6011, 6011, 4, 16, 19], // Discover
    [644, 649, 3, 16, 19],   // Discover
    [65, 65, 2, 16, 19],     // Discover, RuPay
    [60, 60, 2, 16, 16],     // RuPay
    [81, 82, 2, 16, 16],     // RuPay, UnionPay
    [62, 62, 2, 16, 19],     // UnionPay
    [50, 50, 2, 12, 19],     // Maestro
    [56, 58, 2, 12, 19],     // Maestro
    [67, 67, 2, 12, 19],     // Maestro
    [6304, 6390, 4, 12, 19], // Maestro, InstaPayment
    [2200, 2205, 4, 16, 19], // Mir
    [1, 1, 1, 15, 15],       // UATP
];

/// Whether the digits are a card number, by issuer range, length and checksum.
pub(in crate::scan) fn card(digits: &[u8]) -> bool {
    if !(12..=19).contains(&digits.len()) {
        return false;
    }
    let prefix = |len: u32| digits.iter().take(len as usize).fold(0, |n, d| n * 10 + u32::from(d - b'0'));
    let len = digits.len() as u32;
    let issued = RANGES.iter().any(|[first, last, size, shortest, longest]| {
        (*shortest..=*longest).contains(&len) && (*first..=*last).contains(&prefix(*size))
    });
    issued && luhn(digits)
}

/// Whether it takes more than the number to believe it: the ranges allow seventeen and eighteen digits, which no network issues
/// (they are what services number their posts and messages with), and barcodes of thirteen begin with 4 as old Visa cards do.
pub(in crate::scan) fn is_doubtful(digits: &[u8]) -> bool {
    digits[0] == b'0' || matches!(digits.len(), 13 | 17 | 18)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issuers() {
        for (digits, expect) in [
            ("4111111111111111", true),
            ("5555555555554444", true),
            ("2223003122003222", true),
            ("378282246310005", true),
            ("30569309025904", true),
            ("6011111111111117", true),
            ("3530111333300000", true),
            ("6304000000000000", true),
            ("6759649826438453", true),
            ("135410014004955", true),
            ("501800000009", true),
            ("9111111111111111", false),
            ("4111111111111112", false),
            ("4444444444444444", false),
            ("9780306406157", false),
            ("352099001761481", false),
        ] {
            assert_eq!(card(digits.as_bytes()), expect, "{digits}");
        }
    }
}
