//! Numbers as people write them: groups of digits with separators, read once, judged as a whole.
//!
//! A token is everything that could be one number or several in a row: `+1 (212) 555-0123 x45`, `4111-1111-1111-1111`,
//! `10.0.0.1`. Judging whole groups with what stands around them is what keeps versions, dates, identifiers and amounts apart
//! from values. At each group the detectors are asked whether something begins there; if so it is decided, if not the token
//! slides by one group. A token is never held for longer than [`WINDOW`] units, so a table of numbers flows.

use super::End;
use super::units::{Most, Unit, View, is_word};

mod begin;
mod extension;
mod gap;
mod judge;

pub(super) use begin::lead;
pub(super) use judge::{Judge, Verdict};

pub(super) use extension::extension;
use gap::{Gap, begins_gap, gap_of};

/// Units after a group's start by which everything that can begin there is decided: the longest written phone number with its
/// extension, or card, and the separator after it.
pub(super) const WINDOW: usize = 64;
/// Longest hold of a number: the window, and a plus sign and brackets before it.
pub(super) const MAX_NUMBER: usize = WINDOW + MAX_LEAD + 1;
/// Raw bytes that a token may hold: past that somebody hides what is in it, and it is taken for a finding.
const MAX_RAW: usize = 4 * MAX_NUMBER;
/// Plus signs and brackets before the first digit.
pub(super) const MAX_LEAD: usize = 3;
/// Digits past which a group is no part of anything.
const MAX_DIGITS: u8 = 20;
/// Digits below which nothing is anything, but after a plus sign and but for `1.1.1.1`.
const SHORT: usize = 9;
const SHORT_AFTER_PLUS: usize = 7;
/// Digits of a number past which an answer that is cut short keeps it.
const PAST: usize = 7;
const PAST_AFTER_PLUS: usize = 4;
/// Dots of an IPv4 address.
const DOTS: usize = 3;
const MAX_GROUPS: usize = WINDOW / 2 + 4;
/// What stands before a telephone extension: `, extension: `.
const MAX_WORD: usize = 13;
/// Digits of a telephone extension.
const MAX_EXTENSION: u8 = 7;

#[derive(Debug, Clone, Copy)]
struct Group {
    /// Raw offsets.
    start: usize,
    end: usize,
    /// Units from the token's start.
    at: usize,
    /// First digit in `Number::digits`.
    digit: usize,
    /// Digits, at most `MAX_DIGITS`.
    len: u8,
    gap: Gap,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    Digits,
    /// In a separator, up to three units.
    Gap([u8; 3], u8),
    /// In a telephone extension: its letters and what separates them, then its digits.
    Extension {
        word: [u8; MAX_WORD],
        len: u8,
        digits: u8,
        end: usize,
    },
}

/// One token.
#[derive(Debug, Clone)]
pub(super) struct Number {
    /// Raw offset of the first unit, a `+` or bracket included.
    start: usize,
    /// Up to which raw offset the token has read.
    pub(super) at: usize,
    plus: bool,
    open: bool,
    /// The units before the token, the nearer first; spaces where there are none.
    before: [u8; 3],
    /// The units after the last group, once the token has ended.
    after: [u8; 2],
    phase: Phase,
    units: usize,
    groups: Vec<Group>,
    digits: Vec<u8>,
    /// First group that is not decided.
    first: usize,
    /// The group before `first` is part of a finding.
    follows_finding: bool,
    /// Raw end of the extension after the last group.
    extension: Option<usize>,
    ended: bool,
}

impl Number {
    pub(super) fn new() -> Number {
        Number {
            start: 0,
            at: 0,
            plus: false,
            open: false,
            before: [b' '; 3],
            after: [b' '; 2],
            phase: Phase::Digits,
            units: 0,
            groups: Vec::with_capacity(MAX_GROUPS),
            digits: Vec::with_capacity(4 * WINDOW),
            first: 0,
            follows_finding: false,
            extension: None,
            ended: true,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        !self.ended
    }

    /// The first raw offset that may still be part of something.
    pub(super) fn hold(&self) -> usize {
        match (
            self.first.checked_sub(1).and_then(|before| self.groups.get(before)),
            self.groups.get(self.first),
        ) {
            (None, _) => self.start,
            // A bracket in the gap belongs to the group behind it.
            (Some(before), None) => before.end,
            (Some(before), Some(group)) if group.gap == Gap::Open => before.end,
            (_, Some(group)) => group.start,
        }
    }

    /// Reads on as far as the view goes; tells `judge` of what is decided.
    pub(super) fn run(&mut self, view: &View<'_>, judge: &mut Judge<'_, '_>) {
        let most = Most { bytes: MAX_RAW, raw: judge.policy.reach.most_raw };
        // What is held begins no earlier later on.
        let mut short = view.short_to(self.hold(), most);
        while !self.ended {
            let unit = view.next(self.at);
            let next = unit.map_or(view.end, |unit| unit.start);
            if next > short {
                let hold = self.hold();
                if view.is_longer(hold, next, most) {
                    let limit = view.reach(hold, most);
                    judge.overflow(hold, limit);
                    self.first = self.groups.len();
                    self.at = limit;
                    self.ended = true;
                    return;
                }
                short = view.short_to(hold, most);
            }
            let Some(unit) = unit else { return };
            self.feed(unit);
            if self.ended {
                self.decide_all(view, judge);
            } else if self.over_window() {
                self.decide(view, judge);
            }
        }
    }

    /// The text is over. One that was cut short may have lost the rest of its last number: enough of one is taken for a finding.
    pub(super) fn finish(&mut self, view: &View<'_>, end: End, judge: &mut Judge<'_, '_>) {
        if !self.ended {
            let (start, found) = (self.hold(), judge.decided.len());
            if let Phase::Gap(gap, len @ 1..) = self.phase {
                self.after = [gap[0], if len > 1 { gap[1] } else { b' ' }];
            } else {
                self.after = [b' '; 2];
            }
            if let Phase::Extension { digits: 1.., end, .. } = self.phase {
                self.extension = Some(end);
            }
            let enough = end == End::CutShort && self.is_past_trigger();
            self.ended = true;
            self.decide_all(view, judge);
            if enough && judge.decided.len() == found {
                judge.cut_short(self, start, view.end);
            }
        }
    }

    /// Whether more than the beginning of any number has been read, and goes on.
    fn is_past_trigger(&self) -> bool {
        let undecided = &self.groups[self.first..];
        let digits: usize = undecided.iter().map(|group| usize::from(group.len)).sum();
        let dots = undecided.iter().filter(|group| group.gap == Gap::Dot).count();
        digits >= if self.plus || self.open { PAST_AFTER_PLUS } else { PAST } || dots + 1 >= DOTS
    }

    fn over_window(&self) -> bool {
        self.groups
            .get(self.first)
            .is_some_and(|group| self.units - group.at >= WINDOW || group.len >= MAX_DIGITS)
    }

    fn feed(&mut self, unit: Unit) {
        let byte = unit.byte;
        match self.phase {
            Phase::Digits if byte.is_ascii_digit() => self.digit(unit),
            Phase::Digits if begins_gap(&[byte]) => {
                self.phase = Phase::Gap([byte, 0, 0], 1);
                self.consume(unit);
                return;
            }
            Phase::Digits => self.leave([byte, b' '], byte),
            Phase::Gap(gap, len) if byte.is_ascii_digit() => match gap_of(&gap[..usize::from(len)]) {
                Some(gap) => self.group(unit, gap),
                None => self.end([gap[0], if len > 1 { gap[1] } else { byte }]),
            },
            Phase::Gap(gap, len) => {
                let after = [gap[0], if len > 1 { gap[1] } else { byte }];
                let mut longer = gap;
                if usize::from(len) < longer.len() {
                    longer[usize::from(len)] = byte;
                    if begins_gap(&longer[..=usize::from(len)]) {
                        self.phase = Phase::Gap(longer, len + 1);
                        self.consume(unit);
                        return;
                    }
                }
                if len == 1 && gap[0] == b' ' { self.leave(after, byte) } else { self.end(after) }
            }
            Phase::Extension { word, len, digits, .. } => self.extend(unit, word, len, digits),
        }
        if !self.ended {
            self.consume(unit);
        }
    }

    fn consume(&mut self, unit: Unit) {
        self.at = unit.end;
        self.units += 1;
    }

    /// A unit that is neither digit nor separator: the token ends, unless a telephone extension begins. Of a colon it is looked
    /// at what follows, since that of a clock stands between digits, and of a low line, which may be the end of italics.
    fn leave(&mut self, after: [u8; 2], byte: u8) {
        let digits: usize = self.groups[self.first..].iter().map(|group| usize::from(group.len)).sum();
        if matches!(after[0], b':' | b'_') && digits >= SHORT {
            self.phase = Phase::Gap([byte, 0, 0], 1);
        } else if matches!(byte, b'x' | b'X' | b'e' | b'E' | b'#' | b',' | b';') && digits >= 10 {
            self.after = after;
            let mut word = [0; MAX_WORD];
            word[0] = byte;
            self.phase = Phase::Extension { word, len: 1, digits: 0, end: 0 };
        } else {
            self.end(after);
        }
    }

    fn extend(&mut self, unit: Unit, mut word: [u8; MAX_WORD], len: u8, digits: u8) {
        let byte = unit.byte;
        let at = usize::from(len);
        if byte.is_ascii_digit() && (digits > 0 || extension(&word[..at]) == Some(true)) {
            let digits = digits + 1;
            if digits > MAX_EXTENSION {
                self.end(self.after)
            } else {
                self.phase = Phase::Extension { word, len, digits, end: unit.end };
            }
        } else if digits > 0 {
            if let Phase::Extension { end, .. } = self.phase {
                self.extension = (!is_word(byte)).then_some(end);
            }
            let after = if self.extension.is_some() { [byte, b' '] } else { self.after };
            self.end(after);
        } else if at < word.len() {
            word[at] = byte;
            match extension(&word[..=at]) {
                Some(_) => self.phase = Phase::Extension { word, len: len + 1, digits, end: 0 },
                None => self.end(self.after),
            }
        } else {
            self.end(self.after);
        }
    }

    fn end(&mut self, after: [u8; 2]) {
        self.after = after;
        self.ended = true;
    }

    fn digit(&mut self, unit: Unit) {
        let Some(group) = self.groups.last_mut() else { return };
        group.end = unit.end;
        if group.len < MAX_DIGITS {
            group.len += 1;
            self.digits.push(unit.byte);
        }
    }

    fn group(&mut self, unit: Unit, gap: Gap) {
        let gap = if self.groups.is_empty() { Gap::None } else { gap };
        self.groups.push(Group {
            start: unit.start,
            end: unit.end,
            at: self.units,
            digit: self.digits.len(),
            len: 1,
            gap,
        });
        self.digits.push(unit.byte);
        self.phase = Phase::Digits;
    }

    fn decide_all(&mut self, view: &View<'_>, judge: &mut Judge<'_, '_>) {
        let digits: usize = self.groups[self.first..].iter().map(|group| usize::from(group.len)).sum();
        let enough = if self.plus { SHORT_AFTER_PLUS } else { SHORT };
        let dots = self.groups[self.first..].iter().filter(|group| group.gap == Gap::Dot).count();
        if digits < enough && dots < DOTS {
            self.first = self.groups.len();
            return;
        }
        while self.first < self.groups.len() {
            self.decide(view, judge);
        }
    }

    /// Decides what begins at the first undecided group.
    fn decide(&mut self, view: &View<'_>, judge: &mut Judge<'_, '_>) {
        let next = match judge.ask(self, view) {
            Some(Verdict { last, .. }) => {
                self.follows_finding = true;
                last + 1
            }
            None => {
                self.follows_finding = false;
                self.first + 1
            }
        };
        self.first = next;
        // Keep one decided group: the judge looks at the one before.
        if !self.ended && self.first > MAX_GROUPS / 2 {
            let gone = self.first - 1;
            let digits = self.groups[gone].digit;
            self.groups.drain(..gone);
            self.digits.drain(..digits);
            self.groups.iter_mut().for_each(|group| group.digit -= digits);
            self.first = 1;
        }
    }

    fn digits_of(&self, from: usize, to: usize) -> &[u8] {
        let end = self.groups[to].digit + usize::from(self.groups[to].len);
        &self.digits[self.groups[from].digit..end]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::tests::BUILTIN;
    use crate::scan::units::Fold;
    use crate::scan::{Action, Direction, Switches};

    /// However long a table of numbers is, and whatever is found in it.
    #[test]
    fn no_more_than_a_window_of_groups_is_kept() {
        let (fold, policy) =
            (Fold::new(), BUILTIN.policy(Direction::Answer, |_| Action::Mask, Switches::default()));
        let singles = "17 ".repeat(16);
        for text in ["17 ".repeat(1000), "1 ".repeat(1000), singles + &"4111 1111 1111 1111 ".repeat(60)] {
            let view = View { text: &text, base: 0, end: text.len(), fold: &fold, decoded: None };
            let (mut decided, mut overran) = (Vec::new(), false);
            let mut judge =
                Judge { rules: &BUILTIN, policy: &policy, decided: &mut decided, overran: &mut overran };
            let mut number = Number::new();
            number.begin(&view, 0, 0);
            number.run(&view, &mut judge);
            assert!(number.is_open() && number.groups.len() <= 2 * MAX_GROUPS, "{}", number.groups.len());
            assert!(number.digits.len() <= 4 * WINDOW, "{}", number.digits.len());
        }
    }
}
