//! Telephone extensions: `x45`, `ext. 45`, `, extension 45`.

/// Whether `word` begins a telephone extension (`x`, `ext.`, `extension`, `#`), and if so whether digits may follow.
pub(in crate::scan) fn extension(word: &[u8]) -> Option<bool> {
    const WORDS: [&[u8]; 5] = [b"extension", b"extn", b"ext", b"x", b"#"];
    let word = match word {
        [b',' | b';'] | [b',' | b';', b' '] => return Some(false),
        [b',' | b';', b' ', rest @ ..] | [b',' | b';', rest @ ..] => rest,
        _ => word,
    };
    let letters = word.iter().take_while(|b| b.is_ascii_alphabetic() || **b == b'#').count();
    let (name, rest) = word.split_at(letters);
    let whole = WORDS.iter().any(|known| known.eq_ignore_ascii_case(name));
    if rest.is_empty() {
        let begins =
            |known: &[u8]| known.get(..name.len()).is_some_and(|part| part.eq_ignore_ascii_case(name));
        return WORDS.iter().any(|known| begins(known)).then_some(whole);
    }
    (whole && matches!(rest, b"." | b":" | b" " | b"=" | b". " | b": ")).then_some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        for (word, expect) in [
            ("x", Some(true)),
            ("e", Some(false)),
            ("ext", Some(true)),
            ("EXT. ", Some(true)),
            ("extension ", Some(true)),
            ("#", Some(true)),
            (",", Some(false)),
            (", ext. ", Some(true)),
            (";ext=", Some(true)),
            ("exit", None),
            (", 5", None),
            ("x-", None),
        ] {
            assert_eq!(extension(word.as_bytes()), expect, "{word:?}");
        }
    }
}
