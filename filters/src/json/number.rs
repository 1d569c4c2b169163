//! Numbers that count something. However they are spelled (`1`, `1.0`, `1e0`), whoever reads them reads the same.

/// The value of a number that is whole and not negative; `None` for all others.
pub(crate) fn whole_number(spelled: &str) -> Option<u64> {
    if let Ok(number) = spelled.parse() {
        return Some(number);
    }
    // 2^53: past it floating point no longer holds every whole number.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let number: f64 = spelled.parse().ok()?;
    (number.fract() == 0.0 && (0.0..=EXACT).contains(&number)).then_some(number as u64)
}

/// The same of the place in a list.
pub(crate) fn whole_index(spelled: &str) -> Option<u32> {
    u32::try_from(whole_number(spelled)?).ok()
}

#[cfg(test)]
mod tests {
    use super::whole_number;

    #[test]
    fn whole_numbers() {
        let table = [
            ("0", Some(0)),
            ("-0", Some(0)),
            ("1.0", Some(1)),
            ("1e3", Some(1_000)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("1.5", None),
            ("-1", None),
            ("1e999", None),
            ("9007199254740993.0", Some(9_007_199_254_740_992)),
        ];
        for (spelled, expected) in table {
            assert_eq!(whole_number(spelled), expected, "{spelled}");
        }
    }
}
