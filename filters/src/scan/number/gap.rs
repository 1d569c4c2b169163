//! What stands between groups of digits.

/// What stands between two groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gap {
    /// Nothing: the first group.
    None,
    Dash,
    Dot,
    Space,
    Slash,
    /// `(`, alone or after a space or dash.
    Open,
    /// `)`, alone or before a space, dash or dot.
    Close,
    /// A dash between spaces.
    Wide,
}

/// The gap that these units are, if they are a whole one.
pub(super) fn gap_of(gap: &[u8]) -> Option<Gap> {
    Some(match gap {
        b"" => Gap::None,
        b"-" => Gap::Dash,
        b"." => Gap::Dot,
        b" " => Gap::Space,
        b"/" => Gap::Slash,
        b"(" | b" (" | b"-(" => Gap::Open,
        b")" | b") " | b")-" | b")." => Gap::Close,
        b" - " => Gap::Wide,
        _ => return None,
    })
}

/// Whether a gap can begin with these units.
pub(super) fn begins_gap(gap: &[u8]) -> bool {
    gap == b" -" || gap_of(gap).is_some_and(|gap| gap != Gap::None)
}
