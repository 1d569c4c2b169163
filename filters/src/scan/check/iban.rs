//! IBANs: each country's length and inner structure (SWIFT IBAN registry), and the checksum of ISO 13616.

/// The registry's countries, territories that use another's form, and countries that use IBANs without having registered them.
///
/// Country and the structure of what follows the check digits: `n` digits, `a` letters, `c` either, each with its count.
const COUNTRIES: [(&[u8; 2], &str); 126] = [
    (b"AD", "n8c12"),
    (b"AE", "n19"),
    (b"AL", "n8c16"),
    (b"AO", "n21"),
    (b"AT", "n16"),
    (b"AX", "n14"),
    (b"AZ", "a4c20"),
    (b"BA", "n16"),
    (b"BE", "n12"),
    (b"BF", "c2n22"),
    (b"BG", "a4n6c8"),
    (b"BH", "a4c14"),
    (b"BI", "n23"),
    (b"BJ", "c2n22"),
    (b"BL", "n10c11n2"),
    (b"BR", "n23a1c1"),
    (b"BY", "c4n4c16"),
    (b"CF", "n23"),
    (b"CG", "n23"),
    (b"CH", "n5c12"),
    (b"CI", "a2n22"),
    (b"CM", "n23"),
    (b"CR", "n18"),
    (b"CV", "n21"),
    (b"CY", "n8c16"),
    (b"CZ", "n20"),
    (b"DE", "n18"),
    (b"DJ", "n23"),
    (b"DK", "n14"),
    (b"DO", "c4n20"),
    (b"DZ", "n22"),
    (b"EE", "n16"),
    (b"EG", "n25"),
    (b"ES", "n20"),
    (b"FI", "n14"),
    (b"FK", "a2n12"),
    (b"FO", "n14"),
    (b"FR", "n10c11n2"),
    (b"GA", "n23"),
    (b"GB", "a4n14"),
    (b"GE", "a2n16"),
    (b"GF", "n10c11n2"),
    (b"GG", "a4n14"),
    (b"GI", "a4c15"),
    (b"GL", "n14"),
    (b"GP", "n10c11n2"),
    (b"GQ", "n23"),
    (b"GR", "n7c16"),
    (b"GT", "c24"),
    (b"GW", "c2n19"),
    (b"HN", "a4n20"),
    (b"HR", "n17"),
    (b"HU", "n24"),
    (b"IE", "a4n14"),
    (b"IL", "n19"),
    (b"IM", "a4n14"),
    (b"IQ", "a4n15"),
    (b"IR", "n22"),
    (b"IS", "n22"),
    (b"IT", "a1n10c12"),
    (b"JE", "a4n14"),
    (b"JO", "a4n4c18"),
    (b"KM", "n23"),
    (b"KW", "a4c22"),
    (b"KZ", "n3c13"),
    (b"LB", "n4c20"),
    (b"LC", "a4c24"),
    (b"LI", "n5c12"),
    (b"LT", "n16"),
    (b"LU", "n3c13"),
    (b"LV", "a4c13"),
    (b"LY", "n21"),
    (b"MA", "n24"),
    (b"MC", "n10c11n2"),
    (b"MD", "c20"),
    (b"ME", "n18"),
    (b"MF", "n10c11n2"),
    (b"MG", "n23"),
    (b"MK", "n3c10n2"),
    (b"ML", "c2n22"),
    (b"MN", "n16"),
    (b"MQ", "n10c11n2"),
    (b"MR", "n23"),
    (b"MT", "a4n5c18"),
    (b"MU", "a4n19a3"),
    (b"MZ", "n21"),
    (b"NC", "n10c11n2"),
    (b"NE", "a2n22"),
    (b"NI", "a4n20"),
    (b"NL", "a4n10"),
    (b"NO", "n11"),
    (b"OM", "n3c16"),
    (b"PF", "n10c11n2"),
    (b"PK", "a4c16"),
    (b"PL", "n24"),
    (b"PM", "n10c11n2"),
    (b"PS", "a4c21"),
    (b"PT", "n21"),
    (b"QA", "a4c21"),
    (b"RE", "n10c11n2"),
    (b"RO", "a4c16"),
    (b"RS", "n18"),
    (b"RU", "n14c15"),
    (b"SA", "n2c18"),
    (b"SC", "a4n20a3"),
    (b"SD", "n14"),
    (b"SE", "n20"),
    (b"SI", "n15"),
    (b"SK", "n20"),
    (b"SM", "a1n10c12"),
    (b"SN", "a2n22"),
    (b"SO", "n19"),
    (b"ST", "n21"),
    (b"SV", "a4n20"),
    (b"TD", "n23"),
    (b"TF", "n10c11n2"),
    (b"TG", "a2n22"),
    (b"TL", "n19"),
    (b"TN", "n20"),
    (b"TR", "n6c16"),
    (b"UA", "n6c19"),
    (b"VA", "n18"),
    (b"VG", "a4n16"),
    (b"WF", "n10c11n2"),
    (b"XK", "n16"),
    (b"YT", "n10c11n2"),
];

/// Letters and digits of the longest IBAN.
pub(in crate::scan) const MAX: usize = 34;

/// Place in [`COUNTRIES`] of each pair of letters, from one; 0: no country.
const PLACES: [u8; 26 * 26] = {
    let mut places = [0; 26 * 26];
    let mut at = 0;
    while at < COUNTRIES.len() {
        let [first, second] = *COUNTRIES[at].0;
        places[26 * (first - b'A') as usize + (second - b'A') as usize] = at as u8 + 1;
        at += 1;
    }
    places
};

/// Letters and digits of an IBAN of each country.
const LENGTHS: [u8; COUNTRIES.len()] = {
    let mut lengths = [4; COUNTRIES.len()];
    let mut at = 0;
    while at < COUNTRIES.len() {
        let structure = COUNTRIES[at].1.as_bytes();
        let (mut next, mut count) = (0, 0);
        while next < structure.len() {
            if structure[next].is_ascii_digit() {
                count = 10 * count + (structure[next] - b'0');
            } else {
                lengths[at] += count;
                count = 0;
            }
            next += 1;
        }
        lengths[at] += count;
        at += 1;
    }
    lengths
};

/// Place of a country in [`COUNTRIES`]; either case.
fn place(country: [u8; 2]) -> Option<usize> {
    let [first, second] = country.map(|letter| usize::from(letter.to_ascii_uppercase().wrapping_sub(b'A')));
    let place = if first < 26 && second < 26 { PLACES[26 * first + second] } else { 0 };
    usize::from(place).checked_sub(1)
}

/// Structure of a country's accounts; either case.
fn structure(country: [u8; 2]) -> Option<&'static str> {
    place(country).map(|place| COUNTRIES[place].1)
}

/// Whether these letters, of either case, are a country that has IBANs.
pub(in crate::scan) fn is_country(letters: [u8; 2]) -> bool {
    place(letters).is_some()
}

/// Letters and digits of an IBAN of this country.
pub(in crate::scan) fn length(country: [u8; 2]) -> Option<usize> {
    place(country).map(|place| usize::from(LENGTHS[place]))
}

/// Whether letters and digits, without spaces, are an IBAN.
pub(in crate::scan) fn iban(text: &[u8]) -> bool {
    let [a, b, rest @ ..] = text else { return false };
    let Some(structure) = structure([*a, *b]) else { return false };
    rest.len() > 2
        && rest[..2].iter().all(u8::is_ascii_digit)
        && fits(&rest[2..], structure)
        && remainder(&text[4..], &text[..4]) == 1
}

/// Whether the `at`th character of a country's account can be this one.
pub(in crate::scan) fn fits_at(country: [u8; 2], mut at: usize, c: u8) -> bool {
    let Some(mut rest) = structure(country) else { return false };
    while let Some(class) = rest.bytes().next() {
        let digits = rest[1..].find(|c: char| c.is_ascii_alphabetic()).map_or(rest.len(), |end| end + 1);
        let count: usize = rest[1..digits].parse().unwrap_or(0);
        if at < count {
            return in_class(class, c);
        }
        at -= count;
        rest = &rest[digits..];
    }
    false
}

fn in_class(class: u8, c: u8) -> bool {
    match class {
        b'n' => c.is_ascii_digit(),
        b'a' => c.is_ascii_alphabetic(),
        _ => c.is_ascii_alphanumeric(),
    }
}

fn fits(mut account: &[u8], structure: &str) -> bool {
    let mut rest = structure;
    while let Some(class) = rest.bytes().next() {
        let digits = rest[1..].find(|c: char| c.is_ascii_alphabetic()).map_or(rest.len(), |at| at + 1);
        let count: usize = rest[1..digits].parse().unwrap_or(0);
        let Some((part, others)) = account.split_at_checked(count) else { return false };
        if !part.iter().all(|c| in_class(class, *c)) {
            return false;
        }
        (account, rest) = (others, &rest[digits..]);
    }
    account.is_empty()
}

/// ISO 7064 MOD 97-10 over the account followed by country and check digits, letters as 10 to 35.
fn remainder(account: &[u8], head: &[u8]) -> u32 {
    account.iter().chain(head).fold(0, |sum, c| {
        let value = char::from(*c).to_digit(36).unwrap_or(0);
        (sum * if value < 10 { 10 } else { 100 } + value) % 97
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registry_examples() {
        for (text, expect) in [
            ("DE89370400440532013000", true),
            ("de89370400440532013000", true),
            ("GB82WEST12345698765432", true),
            ("FR1420041010050500013M02606", true),
            ("NO9386011117947", true),
            ("MT84MALT011000012345MTLCAST001S", true),
            ("BR1800360305000010009795493C1", true),
            ("SC18SSCB11010000000000001497USD", true),
            ("LC55HEMM000100010012001200023015", true),
            ("TR330006100519786457841326", true),
            ("DE89370400440532013001", false),
            ("US89370400440532013000", false),
            // Right checksums over what their countries do not have.
            ("DE0537040044053201300A", false),
            ("DE85A70400440532013000", false),
            ("GB25123412345698765432", false),
            ("GB16WEST1234569876543X", false),
            ("FR4520041010050500013M026AB", false),
            ("NL5312340417164300", false),
            ("DEA5370400440532013000", false),
            ("DE813704004405320130000", false),
            ("DE5137040044053201300", false),
            ("DECHECK", false),
            ("DE", false),
        ] {
            assert_eq!(iban(text.as_bytes()), expect, "{text}");
        }
    }

    #[test]
    fn characters_in_their_places() {
        for (country, fit, unfit) in [
            (b"DE", "370400440532013000", "X70400440532013000"),
            (b"de", "370400440532013000", "37040044053201300X"),
            (b"GB", "WEST12345698765432", "W1ST12345698765432"),
            (b"GB", "west12345698765432", "WEST1234569876543X"),
            (b"FR", "20041010050500013M02606", "20041010050500013M0260-"),
            (b"FR", "2004101005abcdefghijk06", "200410100Mabcdefghijk06"),
        ] {
            let fits = |text: &str| {
                text.bytes().enumerate().map(|(at, c)| fits_at(*country, at, c)).collect::<Vec<_>>()
            };
            assert_eq!(fits(fit), vec![true; fit.len()], "{fit}");
            assert_eq!(fits(unfit).iter().filter(|fits| !**fits).count(), 1, "{unfit}");
            assert!(!fits_at(*country, fit.len(), b'1'), "nothing behind the last");
        }
        assert!(!fits_at(*b"ZZ", 0, b'1'));
    }

    #[test]
    fn lengths() {
        assert_eq!(length(*b"NO"), Some(15));
        assert_eq!(length(*b"RU"), Some(33));
        assert!(COUNTRIES.iter().all(|(code, _)| length(**code).is_some_and(|len| len <= MAX)));
        assert_eq!(length(*b"mt"), Some(31));
        for none in [*b"ZZ", *b"of", *b"D1", *b"D@", *b"A[", *b"[A", [0x80; 2], [0; 2]] {
            assert_eq!(length(none), None, "{none:?}");
        }
    }
}
