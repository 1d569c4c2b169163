//! Whether a string was drawn at random, as keys are, or written by a person to stand for one.

/// Bits per character of a string, by the frequencies in it (Shannon).
pub(in crate::scan) fn entropy(text: &[u8]) -> f64 {
    let mut counts = [0_u32; 256];
    for byte in text {
        counts[usize::from(*byte)] += 1;
    }
    let len = text.len() as f64;
    counts.iter().filter(|n| **n > 0).map(|n| f64::from(*n) / len).map(|p| -p * p.log2()).sum()
}

/// How many of upper and lower case, digits and marks are in it.
pub(in crate::scan) fn kinds(text: &[u8]) -> usize {
    let is = |kind: fn(&u8) -> bool| usize::from(text.iter().any(kind));
    is(u8::is_ascii_uppercase)
        + is(u8::is_ascii_lowercase)
        + is(u8::is_ascii_digit)
        + is(|b| !b.is_ascii_alphanumeric())
}

/// Whether it is a constant (`MSV1_0_CREDENTIAL_KEY`) or, where that can be no password, a type (`Curve25519SeedBin`).
pub(in crate::scan) fn names_type(text: &[u8], password: bool) -> bool {
    let constant = !text.iter().any(u8::is_ascii_lowercase)
        && text.iter().filter(|b| **b == b'_').count() > 1
        && text.split(|b| *b == b'_').any(|part| part.len() > 5 && part.iter().all(u8::is_ascii_uppercase));
    let mut at = 0;
    let mut words = 0;
    // Capitals begin words of three letters or more, or stand for digits.
    while let Some(first) = text.get(at) {
        at += 1;
        if first.is_ascii_digit() {
            continue;
        }
        let rest = text[at..].iter().take_while(|b| b.is_ascii_lowercase()).count();
        if !first.is_ascii_uppercase() || rest < 2 {
            return constant;
        }
        words += 1;
        at += rest;
    }
    constant || !password && words > 1
}

/// Parts of placeholders and documentation keys, lower case.
const STOPS: [&str; 32] = [
    "example",
    "sample",
    "placeholder",
    "changeme",
    "change_me",
    "change-me",
    "your",
    "insert",
    "redacted",
    "dummy",
    "fake",
    "xxxx",
    "****",
    "....",
    "<",
    "todo",
    "replace",
    "secret_here",
    "key_here",
    "token_here",
    "mysecret",
    "my_secret",
    "my-secret",
    "abcdefgh",
    "12345678",
    "01234567",
    "qwerty",
    "deadbeef",
    "test_key",
    "notreal",
    "not-real",
    "undefined",
];

/// Whether it is a stand-in for a value: says so, repeats itself, or counts up.
pub(in crate::scan) fn placeholder(text: &[u8]) -> bool {
    let lower = text.to_ascii_lowercase();
    let contains = |stop: &&str| memchr::memmem::find(&lower, stop.as_bytes()).is_some();
    let same = text.chunk_by(|a, b| a == b).map(<[u8]>::len).max().unwrap_or(0);
    let steps = text.chunk_by(|a, b| b.wrapping_sub(*a) == 1).map(<[u8]>::len).max().unwrap_or(0);
    text.starts_with(b"***")
        || text.ends_with(b"***")
        || STOPS.iter().any(contains)
        || same >= 6
        || steps >= 8
        || distinct(text) * 4 < text.len().min(32)
}

fn distinct(text: &[u8]) -> usize {
    let mut seen = [false; 256];
    text.iter().filter(|byte| !std::mem::replace(&mut seen[usize::from(**byte)], true)).count()
}

/// Whether a key's body is random enough for its prefix to be believed.
pub(in crate::scan) fn key(body: &[u8]) -> bool {
    let digits = body.iter().any(u8::is_ascii_digit);
    let mixed = body.iter().any(u8::is_ascii_lowercase) && body.iter().any(u8::is_ascii_uppercase);
    (digits || mixed)
        && !names(body)
        && !placeholder(body)
        && entropy(body) >= (body.len() as f64).log2().min(4.5) * 0.62
}

/// Whether a value that something named like a secret is set to is one.
pub(in crate::scan) fn value(text: &[u8], password: bool) -> bool {
    let (mut upper, mut lower, mut digits, mut marks) = (0, 0, 0, 0);
    for byte in text {
        match byte {
            b'A'..=b'Z' => upper += 1,
            b'a'..=b'z' => lower += 1,
            b'0'..=b'9' => digits += 1,
            _ => marks += 1,
        }
    }
    let kinds = [upper, lower, digits, marks].iter().filter(|n| **n > 0).count();
    if placeholder(text) || reference(text, password) || upper + lower == 0 {
        return false;
    }
    if password {
        // People's own: a word with digits or marks in it; or a machine's letters.
        let own = digits > 0 || marks > 1 || kinds > 2;
        return text.len() >= 6 && (own || text.len() >= 8 && is_mixed(text));
    }
    if digits == 0 && marks == 0 {
        // Letters alone: in both cases, but not camel case.
        return text.len() >= 14 && upper >= 3 && lower >= 3 && is_mixed(text) && entropy(text) >= 3.0;
    }
    let hex = text.iter().all(u8::is_ascii_hexdigit);
    let needed = if hex { 3.0 } else { 3.3 };
    text.len() >= 16 && (digits >= 2 || is_mixed(text)) && entropy(text) >= needed
        || text.len() >= 10 && digits >= 2 && kinds > 2 && entropy(text) >= 3.0
}

/// Whether the case, or letter and digit, changes as often as it does by chance, and not as it does from word to word.
fn is_mixed(text: &[u8]) -> bool {
    let class = |b: &u8| (b.is_ascii_lowercase(), b.is_ascii_uppercase(), b.is_ascii_digit());
    let changes = text.windows(2).filter(|pair| class(&pair[0]) != class(&pair[1])).count();
    text.iter().any(u8::is_ascii_lowercase)
        && text.iter().any(u8::is_ascii_uppercase)
        && changes * 5 >= text.len() * 2
}

/// Words joined by marks, as identifiers are.
fn names(text: &[u8]) -> bool {
    let word = |part: &[u8]| {
        let letters = part.iter().filter(|b| b.is_ascii_alphabetic()).count();
        let one_case = part.iter().skip(1).all(|b| !b.is_ascii_uppercase())
            || part.iter().all(|b| !b.is_ascii_lowercase());
        part.len() - letters <= 1 && one_case && part.len() <= 16
    };
    let mut parts = text.split(|b| matches!(b, b'-' | b'_' | b'.' | b'/'));
    text.iter().any(|b| matches!(b, b'-' | b'_' | b'.' | b'/')) && parts.all(word)
}

/// A name, path, version or template that says where the value is, instead of the value.
fn reference(text: &[u8], password: bool) -> bool {
    let starts = |prefix: &str| text.starts_with(prefix.as_bytes());
    let words = |text: &[u8], separators: &[u8]| {
        let mut parts = text.split(|byte| separators.contains(byte));
        let word = |part: &[u8]| {
            let letters = part.iter().take_while(|b| b.is_ascii_alphabetic()).count();
            letters > 0
                && part.len() - letters <= 2
                && part[letters..].iter().all(u8::is_ascii_digit)
                && !(letters >= 6 && is_mixed(part))
        };
        text.iter().any(|byte| separators.contains(byte)) && parts.all(word)
    };
    memchr::memmem::find(text, b"::").is_some()
        || starts("$")
        || starts("%")
        || text.strip_prefix(b"@").is_some_and(|rest| words(rest, b"."))
        || text.strip_prefix(b"/").is_some_and(|rest| words(rest, b"/"))
        || starts("./")
        || starts("http")
        || starts("arn:")
        || starts("--")
        || starts("process.")
        || starts("os.")
        || starts("env.")
        || starts("self.")
        || starts("vault:")
        || words(text, b"._")
        || words(text, b"-")
        || words(text, b"/")
        || version(text)
        || resource(text, password)
        || options(text)
}

/// `/home/user1/project-2`, `projects/p1/secrets/s2/versions/3`, `my-tls-cert-2024`, `auth.errors.password2Short`.
fn resource(text: &[u8], password: bool) -> bool {
    const SEPARATORS: &[u8] = b"/._-";
    let separators = text.iter().filter(|byte| SEPARATORS.contains(byte)).count();
    let path =
        text.starts_with(b"/") && separators > 1 || text.iter().filter(|byte| **byte == b'/').count() > 2;
    let dotted = text.iter().filter(|byte| **byte == b'.').count() > 1;
    let part = |part: &[u8]| {
        let letters = part.iter().filter(|b| b.is_ascii_alphabetic()).count();
        let digits = part.len() - letters;
        let changes =
            part.windows(2).filter(|pair| pair[0].is_ascii_digit() != pair[1].is_ascii_digit()).count();
        // `s2`, `128k`, `2024`; `password2Short`.
        let word = changes < 2 && digits <= 4 || digits == 1 && letters > 8;
        part.len() <= 20 && word && (letters > 1 || digits == 0 || !password || path) && !is_mixed(part)
    };
    let words = text
        .split(|byte| SEPARATORS.contains(byte))
        .filter(|part| part.iter().filter(|b| b.is_ascii_lowercase()).count() > 2);
    (path || dotted || !password && separators > 0)
        && text.iter().all(|byte| byte.is_ascii_alphanumeric() || SEPARATORS.contains(byte))
        && text.split(|byte| SEPARATORS.contains(byte)).all(part)
        && words.count() >= if path || dotted { 2 } else { 1 }
}

/// `required|string|min:8`
fn options(text: &[u8]) -> bool {
    let word = |part: &[u8]| part.iter().all(u8::is_ascii_lowercase) || part.iter().all(u8::is_ascii_digit);
    text.contains(&b'|') && text.split(|byte| matches!(byte, b'|' | b':' | b',' | b'_')).all(word)
}

fn version(text: &[u8]) -> bool {
    text.iter()
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b':' | b'+' | b'v' | b'T' | b'Z'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_their_stand_ins() {
        for (body, expect) in [
            ("T3BlbkFJx9Qa7Lm2Zp4R", true),
            ("xxxxxxxxxxxxxxxxxxxx", false),
            ("IOSFODNN7EXAMPLE", false),
            ("abcdefghijklmnopqrst", false),
            ("Z7Q2MXKPVLW4NDTR", true),
            ("your-api-key-goes-here", false),
            ("0000000000000000", false),
            // Groups, but not of words.
            ("q8Zr2LmX0v-T5bNc7KpWd3", true),
            ("prod-eu-west1-backup-node4", false),
            ("Prod_Eu_West1_Backup", false),
            ("PROD-EU-WEST1-BACKUP-NODE4", false),
            // A word of more than sixteen letters is none.
            ("qwmzrtplvxnbkcjhgs1-q2-w3", true),
            // Six alike, eight in a row.
            ("q8Zr2LmX0vTTTTT5bNc7KpW", true),
            ("q8Zr2LmX0vTTTTTT5bNc7KpW", false),
            ("q8Zr2LmX0vabcdefg5bNc7Kp", true),
            ("q8Zr2LmX0vbcdefghi5bNc7K", false),
            // Neither digits nor both cases.
            ("qzrlmxvtbnckpwdhsyfj", false),
            ("qZrLmXvTbNcKpWdHsYfJ", true),
        ] {
            assert_eq!(key(body.as_bytes()), expect, "{body}");
        }
    }

    #[test]
    fn assigned_values() {
        for (text, password, expect) in [
            ("hunter2!", true, true),
            ("S3cure-Pa55", true, true),
            ("password", true, false),
            ("getPassword", true, false),
            ("${DB_PASSWORD}", true, false),
            ("config.db.password", true, false),
            ("wJalrXUtnFEMI/K7MDENG/bPxRfiCYzzzzzzKEY", false, false),
            ("wJalrXUtnFEMI/K7MDENG/bPxRfiCY3k9Qq1KEY", false, true),
            ("9f86d081884c7d659a2feaa0c55ad015", false, true),
            ("user_session_token", false, false),
            ("1.2.3-45", false, false),
            // Of people: digits, or two marks, or three kinds; of a machine: letters of both cases, mixed.
            ("sunshine", true, false),
            ("sunshine!", true, false),
            ("sun!shine!", true, true),
            ("Sunshine!", true, true),
            ("sunshine7", true, true),
            ("sun7!", true, false),
            ("sun77!", true, true),
            ("qZrLmXvT", true, true),
            ("qZrLmXv", true, false),
            // Letters alone that are no password: fourteen, three of each case.
            ("qZrLmXvTbNcKpW", false, true),
            ("qZrLmXvTbNcKp", false, false),
            ("QZRLMXVTBNCKPWD", false, false),
            ("getUserSessionToken", false, false),
            // Digits alone, marks alone.
            ("8402917365501827", false, false),
            ("8402917365501827", true, false),
            // Ten with three kinds, two of them digits; sixteen with two kinds.
            ("qZ8rL2mXvT", false, true),
            ("qZ8rLkmXvT", false, false),
            ("q8rl2mxvtb", false, false),
            ("q8rl2mxvtbnck5pw", false, true),
        ] {
            assert_eq!(value(text.as_bytes(), password), expect, "{text}");
        }
    }

    #[test]
    fn types_and_constants() {
        for (text, password, expect) in [
            // A constant has two low lines and a word of six capitals.
            ("MSV1_0_CREDENTIAL_KEY", true, true),
            ("CREDIT_1_2", true, true),
            ("ALPHA_1_2", true, false),
            ("A_B_C1", true, false),
            ("A1_B2_C3", true, false),
            ("CREDENTIAL_KEY", true, false),
            ("MSV1_0_CREDENTIAL_Key", true, false),
            // A type two words, and is no password.
            ("Curve25519SeedBin", false, true),
            ("Curve25519SeedBin", true, false),
            ("Curve25519", false, false),
            ("Curve25519Se", false, false),
        ] {
            assert_eq!(names_type(text.as_bytes(), password), expect, "{text}");
        }
    }

    /// Of 32 characters or more eight are different.
    #[test]
    fn what_repeats_itself_is_a_placeholder() {
        for (part, expect) in [("qzrlmxvt", false), ("qzrlmxqv", true)] {
            assert_eq!(placeholder(part.repeat(4).as_bytes()), expect, "{part}");
        }
    }

    #[test]
    fn resources() {
        for (text, password, expect) in [
            ("/home/user1", true, true),
            ("/home", false, true),
            ("/home/22", true, false),
            ("auth.errors7.short", true, true),
            ("auth.password2Short", true, false),
            ("auth..errors7", true, true),
            // Few letters and a number, where it may be a password.
            ("auth.errors.s2024", true, false),
            ("auth.errors.s2024", false, true),
            ("auth.errors.pass2Shor", true, false),
            ("auth.errors.pass2Short", true, true),
            // Words have three letters.
            ("auth.db.22", false, false),
            ("auth.dbs.22", false, true),
            ("authtoken7", false, false),
        ] {
            assert_eq!(resource(text.as_bytes(), password), expect, "{text}");
        }
    }

    /// A password is no value where it says where the value is.
    #[test]
    fn references_are_no_values() {
        const VALUE: &str = "q8Zr2!LmX0v";
        for start in ["$", "%", "./", "http", "arn:", "--", "process.", "os.", "env.", "self.", "vault:"] {
            assert!(!value(format!("{start}{VALUE}").as_bytes(), true), "{start}");
            assert!(value(format!("x{start}{VALUE}").as_bytes(), true), "x{start}");
        }
        assert!(!value(format!("a::{VALUE}").as_bytes(), true));
        for (text, expect) in [
            ("@scope.pkg2.name1", false),
            ("@scope.9kg2.name1", true),
            ("/run/secrets/db1", false),
            ("/run/secrets/9db1", true),
            ("/home/user1/project-2", false),
            ("/9db1Kx", true),
            ("/q8Zr/LmX0v7", true),
            ("auth.errors.password2Short", false),
            ("required|string|min:8", false),
            ("required_8:string", true),
            ("v1.2.3-45", false),
            ("2024-01-02T03:04:05Z", false),
            ("***REMOVED***", false),
            ("correct-horse-42", true),
            ("config.db1.pass_word", false),
            ("my-app1-secret-name", false),
            ("app1/db2/pass", false),
            ("app1/db/pass345", true),
            ("app1/db/pass34", false),
            ("app1/qZrLmXv/pass", true),
        ] {
            assert_eq!(value(text.as_bytes(), true), expect, "{text}");
        }
    }
}
