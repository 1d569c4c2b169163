//! Runs of characters at the end of what was read, which a later trigger reaches back over.

use super::MAX_RAW_PER_UNIT;
use crate::scan::units::View;

/// The run of a class that the text read so far ends with.
///
/// Carried from piece to piece: only the new piece is walked back over, unless the run is longer than it may be.
#[derive(Debug, Default, Clone)]
pub(super) struct Run {
    pub(super) start: usize,
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
            start = shorten(view, pos, floor, max, inside);
        }
        (self.start, self.end) = (start, pos);
        start
    }

    /// Notes that the run that ends at `pos` begins at `start`.
    #[inline]
    pub(super) fn set(&mut self, start: usize, pos: usize) {
        (self.start, self.end) = (start, pos);
    }
}

/// Where a run that is longer than it may be begins.
#[cold]
pub(super) fn shorten(
    view: &View<'_>,
    pos: usize,
    floor: usize,
    max: usize,
    inside: impl Fn(u8) -> bool,
) -> usize {
    // In ASCII every byte is a unit.
    let ascii = view.text.as_bytes()[pos - max - view.base..pos - view.base].is_ascii();
    if ascii { pos - max } else { back(view, pos, floor, max, inside) }
}

/// Walks back from `from` over at most `max` units of a class and four times as many raw bytes, not before `floor`.
pub(super) fn back(
    view: &View<'_>,
    from: usize,
    floor: usize,
    max: usize,
    inside: impl Fn(u8) -> bool,
) -> usize {
    back_to(view, from, floor.max(from.saturating_sub(MAX_RAW_PER_UNIT * max)), max, inside)
}

/// Walks back from `from` over at most `max` units of a class, not before `lowest`.
pub(super) fn back_to(
    view: &View<'_>,
    from: usize,
    lowest: usize,
    max: usize,
    inside: impl Fn(u8) -> bool,
) -> usize {
    let mut start = from;
    for _ in 0..max {
        match view.prev(start) {
            Some(unit) if inside(unit.byte) && unit.start >= lowest => start = unit.start,
            _ => break,
        }
    }
    start
}
