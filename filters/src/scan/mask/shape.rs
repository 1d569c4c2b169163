//! Stand-ins that keep type and shape, for JSON that a program reads: an address stays an address, sixteen digits stay sixteen.
//!
//! None of them can be anybody's: domains under `.invalid` (RFC 2606), `0.0.0.0/8` (RFC 1122 section 3.2.1.3) and `100::/64`
//! (RFC 6666), numbers of zeros that no plan, issuer or checksum allows. They are known again by their form, so that a text that
//! comes back in a conversation is not masked once more.

use unicode_normalization::UnicodeNormalization;

use crate::scan::number::extension;

/// How a kind's stand-ins are written. One that is made of itself, by the number that it bears, is the same again: by that, and by
/// nothing else, a text is known for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::scan) enum Form {
    Email,
    Address,
    Secret,
    Phone,
    /// Cards, social security numbers.
    Digits,
    Iban,
}

/// Digits at the end of a number of zeros that count.
const COUNTED: usize = 5;
/// Fewest digits of a number of zeros that is known for one.
const FEWEST: usize = 7;
/// Bytes of a mask inside of its brackets.
const MAX_MASK: usize = 80;
/// Lengths of secrets' stand-ins.
const CLASSES: [usize; 3] = [16, 32, 64];
/// Schemes that a secret's stand-in shows: common ones, which cannot be the secret themselves.
const SCHEMES: [&str; 30] = [
    "amqp",
    "amqps",
    "clickhouse",
    "ftp",
    "ftps",
    "http",
    "https",
    "ldap",
    "ldaps",
    "mariadb",
    "mongodb",
    "mongodb+srv",
    "mqtt",
    "mssql",
    "mssql+pyodbc",
    "mysql",
    "mysql+pymysql",
    "neo4j",
    "oracle",
    "postgres",
    "postgresql",
    "postgresql+asyncpg",
    "postgresql+psycopg2",
    "redis",
    "rediss",
    "sftp",
    "smtp",
    "smtps",
    "sqlserver",
    "ssh",
];

/// What stands for the `n`th value of a kind in a JSON string; of an open-ended key, for what is known of it.
pub(super) fn string(kind: &str, value: &str, n: u32) -> String {
    match Form::of(kind) {
        Some(form) => form.make(value, n),
        None => format!("[{}_{n}]", kind.to_uppercase()),
    }
}

/// What stands for the `n`th value of a kind where the JSON number `literal` was: as many digits, before the point and behind it.
pub(crate) fn number(literal: &str, n: u32) -> String {
    let unsigned = literal.trim_start_matches('-');
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let whole = digits(unsigned).max(1);
    let fraction = unsigned.split_once('.').map_or(0, |(_, fraction)| digits(fraction));
    let mut made = literal[..literal.len() - unsigned.len()].to_owned();
    made.push('9');
    made.push_str(&counting(n, whole - 1));
    if fraction > 0 {
        made.push('.');
        made.extend(std::iter::repeat_n('0', fraction));
    }
    made
}

/// The masks of [`Shape::Text`](super::Shape::Text) in a text, `[EMAIL_1]`: kinds in lower case, and numbers.
pub(in crate::scan) fn masks(text: &str) -> impl Iterator<Item = (String, u32)> + '_ {
    memchr::memchr_iter(b'[', text.as_bytes()).filter_map(|at| {
        let inside = &text[at + 1..];
        let len = inside.bytes().take(MAX_MASK).position(|b| b == b']')?;
        let (kind, number) = inside[..len].rsplit_once('_')?;
        let of_a_kind = kind.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
        let number = number.bytes().all(|b| b.is_ascii_digit()).then(|| number.parse().ok())??;
        (of_a_kind && !kind.is_empty()).then(|| (kind.to_ascii_lowercase(), number))
    })
}

/// `n` in so many digits: zeros before it, or its last ones.
fn counting(n: u32, digits: usize) -> String {
    let n = n.to_string();
    let mut counting: String = std::iter::repeat_n('0', digits.saturating_sub(n.len())).collect();
    counting.push_str(&n[n.len().saturating_sub(digits)..]);
    counting
}

impl Form {
    /// The form of a kind; kinds of one's own have none.
    pub(in crate::scan) fn of(kind: &str) -> Option<Form> {
        Some(match kind {
            "email" => Form::Email,
            "ip_address" => Form::Address,
            "secret" => Form::Secret,
            "phone" => Form::Phone,
            "credit_card" | "ssn" => Form::Digits,
            "iban" => Form::Iban,
            _ => return None,
        })
    }

    /// Whether no value has this form whoever looks for it. A number of zeros is none only by a detector's plans.
    pub(in crate::scan) fn is_nobodys(self) -> bool {
        matches!(self, Form::Email | Form::Address | Form::Secret)
    }

    fn make(self, value: &str, n: u32) -> String {
        match self {
            Form::Email => format!("email-{n}@masked.invalid"),
            Form::Address => address(value, n),
            Form::Secret => secret(value, n),
            Form::Phone | Form::Digits | Form::Iban => self.zeros(value, n),
        }
    }

    /// The number that a text bears, all that was found, if it is a stand-in of this form.
    pub(in crate::scan) fn number_of(self, text: &str) -> Option<u32> {
        let text = text.to_ascii_lowercase();
        match self {
            // What else can stand before an `@` was there before the value: it slid, or another stand-in ends there.
            Form::Email => text.rfind("email-").and_then(|from| self.remade(&text[from..])),
            // A password may have been an address.
            Form::Secret => self.remade(&text).or_else(|| Form::Email.remade(&text)),
            _ => self.remade(&text),
        }
    }

    fn remade(self, lower: &str) -> Option<u32> {
        self.counted(lower).filter(|n| self.make(lower, *n).eq_ignore_ascii_case(lower))
    }

    /// The value with zeros for its digits, `n` at their end, and `X` for its letters: not for an account's country, nor for the
    /// word before a telephone extension.
    fn zeros(self, value: &str, n: u32) -> String {
        let value: String = value.nfkc().filter(|c| c.is_ascii() && !c.is_ascii_control()).collect();
        let counted = counting(n, value.bytes().filter(u8::is_ascii_digit).count());
        let kept = if self == Form::Iban { 2 } else { 0 };
        let word = if self == Form::Phone { extension_of(&value) } else { value.len() };
        let (mut digits, mut letters) = (counted.chars(), 0);
        let written = value.char_indices().map(|(at, c)| {
            letters += usize::from(c.is_ascii_alphabetic());
            match c {
                '0'..='9' => digits.next().unwrap_or('0'),
                'A'..='Z' | 'a'..='z' if letters > kept && at < word => 'X',
                _ => c,
            }
        });
        written.collect()
    }

    /// The number that a stand-in of this form would bear.
    fn counted(self, lower: &str) -> Option<u32> {
        match self {
            Form::Email => lower.strip_prefix("email-")?.split('@').next()?.parse().ok(),
            Form::Address => {
                let bare = lower.split('/').next()?;
                if let Some(n) = bare.strip_prefix("100::") {
                    return u32::from_str_radix(n, 16).ok();
                }
                let (high, low) = bare.strip_prefix("0.0.")?.split_once('.')?;
                Some(u32::from(high.parse::<u8>().ok()?) << 8 | u32::from(low.parse::<u8>().ok()?))
            }
            Form::Secret => lower.split_once("masked-")?.1.split(['-', '.']).next()?.parse().ok(),
            Form::Phone | Form::Digits | Form::Iban => {
                let digits: String = lower.chars().filter(char::is_ascii_digit).collect();
                let zeros = digits.len().checked_sub(COUNTED).filter(|_| digits.len() >= FEWEST)?;
                digits[zeros..].parse().ok()
            }
        }
    }
}

/// Where the telephone extension begins that a number ends with: ` x45`, `, ext. 45`.
fn extension_of(value: &str) -> usize {
    let number = value.trim_end_matches(|c: char| c.is_ascii_digit());
    let name = number.trim_end_matches(|c: char| !c.is_ascii_digit() && c != ')');
    let is_one = extension(number[name.len()..].trim_start().as_bytes()) == Some(true);
    if is_one { name.len() } else { value.len() }
}

fn address(value: &str, n: u32) -> String {
    let suffix = value.find('/').map_or("", |at| &value[at..]);
    if value.contains(':') {
        return format!("100::{n:x}{suffix}");
    }
    format!("0.0.{}.{}{suffix}", n >> 8 & 0xff, n & 0xff)
}

fn secret(value: &str, n: u32) -> String {
    if let Some((scheme, _)) = value.split_once("://")
        && SCHEMES.contains(&scheme)
    {
        return format!("{scheme}://masked-{n}.invalid");
    }
    let class = CLASSES.into_iter().find(|class| value.len() <= *class).unwrap_or(CLASSES[2]);
    let mut text = format!("masked-{n}-");
    text.extend(std::iter::repeat_n('x', class.saturating_sub(text.len())));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::{Action, Direction, Switches};

    #[test]
    fn type_and_shape_are_kept() {
        for (kind, value, expect) in [
            ("email", "alice@corp.com", "email-7@masked.invalid"),
            ("phone", "(212) 555-0123", "(000) 000-0007"),
            ("phone", "+44 (0)20 7946 0958", "+00 (0)00 0000 0007"),
            ("phone", "２１２-555-0123, ext. 45", "000-000-0000, ext. 07"),
            ("phone", "2125550123x45", "0000000000x07"),
            ("phone", "212–555–0123", "0000000007"),
            ("phone", "1-800-FLOWERS", "0-007-XXXXXXX"),
            ("credit_card", "4111-1111-1111-1111", "0000-0000-0000-0007"),
            ("credit_card", "X4111111111111111", "X0000000000000007"),
            ("ssn", "219-09-9998", "000-00-0007"),
            ("ssn", "QQ123456C", "XX000007X"),
            ("iban", "DE89 3704 0044 0532 0130 00", "DE00 0000 0000 0000 0000 07"),
            ("iban", "GB82WEST12345698765432", "GB00XXXX00000000000007"),
            ("ip_address", "203.0.113.9/24", "0.0.0.7/24"),
            ("ip_address", "2001:db8::1", "100::7"),
            ("ip_address", "fe80::1%eth0/64", "100::7/64"),
            ("secret", "hunter2!", "masked-7-xxxxxxx"),
            ("secret", "postgres://app:s3cr3tPw9@db", "postgres://masked-7.invalid"),
            // What stands before `://` may be a part of it.
            ("secret", "Sup3rS3cret://prod", "masked-7-xxxxxxxxxxxxxxxxxxxxxxx"),
            ("secret", "hunter://prod", "masked-7-xxxxxxx"),
            ("name", "Acme", "[NAME_7]"),
        ] {
            let made = string(kind, value, 7);
            assert_eq!(made, expect, "{value}");
            let known = Form::of(kind).is_some_and(|form| form.number_of(&made).is_some());
            // Six digits may be a value's.
            assert_eq!(known, !matches!(value, "Acme" | "QQ123456C" | "1-800-FLOWERS"), "{made}");
        }
        for (known, len) in [(16, 16), (17, 32), (32, 32), (33, 64), (500, 64)] {
            assert_eq!(string("secret", &"k".repeat(known), 1).len(), len, "{known} known");
        }
        assert_eq!(string("phone", "(212) 555-0123", 65_536), "(000) 006-5536");
        assert_eq!(string("secret", "hunter2!", 65_536), "masked-65536-xxx");
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
        }
        // As many as a request may have: more than a width of the formatter.
        let many = "1".repeat(70_000);
        let expect = format!("9{}7.{}", "0".repeat(69_998), "0".repeat(70_000));
        assert!(number(&format!("{many}.{many}"), 7) == expect);
        assert_eq!(string("phone", &many, 7).len(), many.len());
    }

    /// The numbers that a request gives out, and every one of them.
    #[test]
    fn stand_ins_are_known_by_their_kind() {
        for n in [0, 1, 9, 10, 255, 256, 999, 4_096, 65_535, 65_536] {
            for (kind, value) in [
                ("email", "a@b.com"),
                ("phone", "212-555-0123"),
                ("credit_card", "4111111111111111"),
                ("ssn", "219-09-9998"),
                ("iban", "GB82WEST12345698765432"),
                ("ip_address", "203.0.113.9"),
                ("ip_address", "2001:db8::1/64"),
                ("secret", "hunter2!"),
                ("secret", "https://hooks.example/x"),
            ] {
                let made = string(kind, value, n);
                for form in [Form::Email, Form::Address, Form::Secret, Form::Phone, Form::Digits, Form::Iban]
                {
                    let own = Form::of(kind) == Some(form);
                    let number = |form| matches!(form, Form::Phone | Form::Digits | Form::Iban);
                    let address = kind == "email" && form == Form::Secret;
                    if own || address || !Form::of(kind).is_some_and(number) || !number(form) {
                        assert_eq!(form.number_of(&made).is_some(), own || address, "{made} as {form:?}");
                        assert_eq!(
                            form.number_of(&made.to_uppercase()).is_some(),
                            own || address,
                            "{made} as {form:?}"
                        );
                    }
                }
            }
        }
        // What stood before an address that was longer, and two side by side.
        assert_eq!(Form::Email.number_of("aaaaemail-1@masked.invalid"), Some(1));
        assert_eq!(Form::Email.number_of("masked.invalidemail-2@masked.invalid"), Some(2));
    }

    #[test]
    fn values_are_no_stand_ins() {
        for (form, values) in [
            (
                Form::Email,
                &[
                    "alice@corp.com",
                    "email-1@corp.com",
                    "0012345@corp.com",
                    "00012345@uni.edu",
                    "9001234.smith@uni.edu",
                    "alice@masked.invalid",
                    "email-1@masked.invalid.com",
                    "email-01@masked.invalid",
                    "email-@masked.invalid",
                    "email-+1@masked.invalid",
                ][..],
            ),
            (
                Form::Secret,
                &[
                    "0000012345aB!",
                    "9000001.Kq8ZrW2LmX0vT5bN",
                    "0.0.1/Kq8Zr2LmX0v",
                    "S3cr3tPw9x@masked.invalid",
                    "S3cr3tPw9xemail-1@masked.invalid",
                    "masked-1-hunter2",
                    "masked-1-xxxxxxxhunter2",
                    "masked-1-xxxxxx",
                    "xmasked-1-xxxxxxx",
                    "masked-1",
                    "Sup3rS3cret://masked-1.invalid",
                    "postgres://masked-1.invalid/s3cr3t",
                    "postgres://a:s3cr3t@masked-1.invalid",
                    "0.0.0.1",
                    "0000000000000001",
                ],
            ),
            (
                Form::Address,
                &["0.1.2.3", "10.0.0.1", "2001:db8::1", "0.0.0.1.x", "100::1:2", "100::01", "0.0.0"],
            ),
            (
                Form::Phone,
                &[
                    "+1 212 555 0123",
                    "0001234567",
                    "000-001",
                    "0000001 or Alice",
                    "9000000001",
                    "000000000Ⅷ1",
                ],
            ),
            (Form::Digits, &["4111111111111111", "QQ000001C", "0000001A", "9000000000000001"]),
            (Form::Iban, &["DE89370400440532013000", "DE00370400440532013000", "GB00WEST00000000000007"]),
        ] {
            for value in values {
                assert!(form.number_of(value).is_none(), "{value} as {form:?}");
            }
        }
    }

    /// URLs of the schemes that a secret's stand-in shows are found with them, to the first letter.
    #[test]
    fn schemes_that_are_shown_are_found() {
        let rules = &crate::scan::tests::BUILTIN;
        let policy = rules.policy(Direction::Request, |_| Action::Mask, Switches::default());
        for scheme in SCHEMES {
            let mut found = Vec::new();
            rules.scan(&policy, &format!("x {scheme}://app:s3cr3tPw9@db.internal"), &mut found);
            assert_eq!(found.first().map(|found| found.span.start), Some(2), "{scheme}");
        }
    }
}
