//! Runs of characters at the end of what was read, which a later trigger reaches back over.

use crate::scan::units::View;

/// The run of a class that the text read so far ends with.
///
/// Carried from piece to piece: only the new piece is walked back over, unless the run is longer than it may be.
#[derive(Debug, Default)]
pub(super) struct Run {
    start: usize,
    /// Up to where it was read.
    end: usize,
}

impl Run {
    /// Where the run begins that ends at `pos`: at most `max` units and four times as many raw bytes, not before `floor`.
    pub(super) fn update(
        &mut self,
        view: &View<'_>,
        pos: usize,
        floor: usize,
        max: usize,
        inside: impl Fn(u8) -> bool,
    ) -> usize {
        let mut start = pos;
        while let Some(unit) = view.prev(start) {
            if !inside(unit.byte) || unit.start < floor {
                break;
            }
            start = unit.start;
            if start <= self.end && self.start < self.end {
                // Joins the run that the last piece ended with.
                start = start.min(self.start.max(floor));
                break;
            }
        }
        if pos - start > max {
            start = back(view, pos, floor, max, inside);
        }
        (self.start, self.end) = (start, pos);
        start
    }
}

/// Walks back from `from` over at most `max` units of a class and four times as many raw bytes, not before `floor`.
pub(super) fn back(
    view: &View<'_>,
    from: usize,
    floor: usize,
    max: usize,
    inside: impl Fn(u8) -> bool,
) -> usize {
    let mut start = from;
    for _ in 0..max {
        match view.prev(start) {
            Some(unit) if inside(unit.byte) && unit.start >= floor && from - unit.start <= 4 * max => {
                start = unit.start
            }
            _ => break,
        }
    }
    start
}
