//! Stand-ins that keep type and shape, for JSON that a program reads: an address stays an address, sixteen digits stay sixteen.
//!
//! None of them can be anybody's: domains under `.invalid` (RFC 2606), `0.0.0.0/8` (RFC 1122 section 3.2.1.3) and `100::/64`
//! (RFC 6666), numbers of zeros that no plan, issuer or checksum allows. They are known again by their form, so that a text that
//! comes back in a conversation is not masked once more.

use unicode_normalization::UnicodeNormalization;

/// Digits at the end of a number of zeros that count.
const COUNTED: usize = 5;
/// Fewest digits of such a number.
const FEWEST: usize = 7;
/// Lengths of secrets' stand-ins.
const CLASSES: [usize; 3] = [16, 32, 64];

/// What stands for the `n`th value of a kind in a JSON string. Of an open-ended key the first `known` bytes are known.
pub(super) fn string(kind: &str, value: &str, known: usize, n: u32) -> String {
    match kind {
        "email" => format!("email-{n}@masked.invalid"),
        "phone" | "credit_card" | "ssn" => zeros(value, n, 0),
        "iban" => zeros(value, n, 2),
        "ip_address" => address(value, n),
        "secret" => secret(value, known, n),
        _ => format!("[{}_{n}]", kind.to_uppercase()),
    }
}

/// What stands for the `n`th value of a kind where the JSON number `literal` was: as many digits, before the point and behind it.
pub(in crate::scan) fn number(literal: &str, n: u32) -> String {
    let unsigned = literal.trim_start_matches('-');
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let whole = digits(unsigned).max(1);
    let fraction = unsigned.split_once('.').map_or(0, |(_, fraction)| digits(fraction));
    let counted = format!("{n:0width$}", width = whole - 1);
    let counted = &counted[counted.len() - (whole - 1)..];
    let point = if fraction > 0 { "." } else { "" };
    let minus = &literal[..literal.len() - unsigned.len()];
    format!("{minus}9{counted}{point}{:0<fraction$}", "")
}

/// The number by which a JSON number stands for a value, if it does.
pub(in crate::scan) fn counted(number: &str) -> Option<u32> {
    let whole = number.split('.').next().unwrap_or_default();
    let rest = whole.strip_prefix('9').filter(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()))?;
    let (zeros, counted) = rest.split_at(rest.len().saturating_sub(COUNTED));
    (zeros.bytes().all(|byte| byte == b'0') && rest.len() + 1 >= FEWEST).then(|| counted.parse().ok())?
}

/// Whether a text has the form of a stand-in that this module makes.
pub(in crate::scan) fn is_stand_in(text: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let lower = text.to_ascii_lowercase();
    let url = lower.split_once("://masked-").and_then(|(_, rest)| rest.strip_suffix(".invalid"));
    // Whatever else stands before the `@`: two stand-ins side by side are one address.
    if lower.ends_with("@masked.invalid") || url.is_some_and(number) || counted(text).is_some() {
        return true;
    }
    if let Some(rest) = lower.strip_prefix("masked-") {
        let (n, fill) = rest.split_once('-').unwrap_or((rest, ""));
        return number(n) && fill.bytes().all(|byte| byte == b'x');
    }
    let bare = lower.split('/').next().unwrap_or_default();
    if bare.strip_prefix("0.0.").is_some_and(|rest| rest.split('.').all(number)) || bare.starts_with("100::")
    {
        return true;
    }
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_digit).collect();
    let letters = text.bytes().filter(u8::is_ascii_alphabetic).count();
    digits.len() >= FEWEST
        && digits[..digits.len() - COUNTED].iter().all(|digit| *digit == b'0')
        && (letters <= digits.len()
            || text.bytes().skip(2).all(|byte| !byte.is_ascii_alphabetic() || byte == b'X'))
}

/// The value with zeros for its digits, `n` at their end, and `X` for letters after the first `kept`.
fn zeros(value: &str, n: u32, kept: usize) -> String {
    let written: Vec<char> = value.nfkc().filter(|c| c.is_ascii() && !c.is_ascii_control()).collect();
    let count = written.iter().filter(|c| c.is_ascii_digit()).count();
    let counted = format!("{n:0count$}");
    let mut digits = counted[counted.len() - count..].chars();
    let mut letters = 0;
    let shape = |c: char| match c {
        '0'..='9' => digits.next().unwrap_or('0'),
        _ if kept > 0 && c.is_ascii_alphabetic() => {
            letters += 1;
            if letters > kept { 'X' } else { c }
        }
        _ => c,
    };
    written.into_iter().map(shape).collect()
}

fn address(value: &str, n: u32) -> String {
    let suffix = value.find('/').map_or("", |at| &value[at..]);
    if value.contains(':') {
        return format!("100::{n:x}{suffix}");
    }
    format!("0.0.{}.{}{suffix}", n >> 8 & 0xff, n & 0xff)
}

fn secret(value: &str, known: usize, n: u32) -> String {
    if let Some((scheme, _)) = value.split_once("://")
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
    {
        return format!("{scheme}://masked-{n}.invalid");
    }
    let len = known.min(value.len());
    let class = CLASSES.into_iter().find(|class| len <= *class).unwrap_or(CLASSES[2]);
    let mut text = format!("masked-{n}-");
    text.extend(std::iter::repeat_n('x', class.saturating_sub(text.len())));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_and_shape_are_kept() {
        for (kind, value, expect) in [
            ("email", "alice@corp.com", "email-7@masked.invalid"),
            ("phone", "(212) 555-0123", "(000) 000-0007"),
            ("phone", "+44 (0)20 7946 0958", "+00 (0)00 0000 0007"),
            ("credit_card", "4111-1111-1111-1111", "0000-0000-0000-0007"),
            ("ssn", "219-09-9998", "000-00-0007"),
            ("iban", "DE89 3704 0044 0532 0130 00", "DE00 0000 0000 0000 0000 07"),
            ("iban", "GB82WEST12345698765432", "GB00XXXX00000000000007"),
            ("ip_address", "203.0.113.9/24", "0.0.0.7/24"),
            ("ip_address", "2001:db8::1", "100::7"),
            ("secret", "hunter2!", "masked-7-xxxxxxx"),
            ("secret", "postgres://app:s3cr3tPw9@db", "postgres://masked-7.invalid"),
            ("name", "Acme", "[NAME_7]"),
        ] {
            let made = string(kind, value, value.len(), 7);
            assert_eq!(made, expect, "{value}");
            assert!(kind == "name" || is_stand_in(&made), "{made}");
        }
        assert_eq!(string("secret", &"k".repeat(500), 30, 1).len(), 32);
        assert_eq!(string("secret", &"k".repeat(500), 500, 1).len(), 64);
        assert_eq!(string("phone", "(212) 555-0123", 14, 65_536), "(000) 006-5536");
    }

    #[test]
    fn numbers_keep_their_digits() {
        for (literal, n, expect) in [
            ("4111111111111111", 1, "9000000000000001"),
            ("-2125550123", 65_536, "-9000065536"),
            ("219099998.25", 12, "900000012.00"),
            ("2.5e3", 3, "9.0"),
            ("0", 3, "9"),
            ("12", 345, "95"),
        ] {
            assert_eq!(number(literal, n), expect);
            assert_eq!(counted(expect).is_some(), literal.len() > 8 && !literal.starts_with('-'), "{expect}");
        }
        assert_eq!(counted("9000000000000017"), Some(17));
        assert_eq!(counted("9100000000000017"), None);
    }

    #[test]
    fn values_are_no_stand_ins() {
        for text in [
            "alice@corp.com",
            "email-1@corp.com",
            "4111111111111111",
            "9212555012",
            "0.1.2.3",
            "10.0.0.1",
            "2001:db8::1",
            "masked-1-hunter2",
            "+1 212 555 0123",
            "DE89370400440532013000",
        ] {
            assert!(!is_stand_in(text), "{text}");
        }
    }
}
