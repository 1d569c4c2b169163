//! A text that arrives in pieces.

use std::ops::Range;
use std::sync::Arc;

use super::mask::Repeats;
use super::pseudonym::{Part, Reading, Restorer};
use super::sweep::{MARGIN, Pass, SLACK, Sink};
use super::units::View;
use super::{Action, Found, Masker, Policy, RuleId, Rules, Shape};

/// What happened to a piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flow {
    /// What may leave was appended to the output.
    Pass,
    /// A finding whose action is [`Action::Block`]: what stands before it was appended, nothing more will be.
    Block(Found),
}

/// How a text ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The text is whole.
    Whole,
    /// It was cut short (`finish_reason: length`): a candidate past its trigger is masked, not released.
    CutShort,
}

/// Bytes of a long piece that are read at once.
const SLICE: usize = 8 * 1024;
/// Bytes of a piece that is likely to hold nothing that begins.
const SHORT: usize = 32;

/// The scanner of one lane. The result is the same for every way of cutting the text.
///
/// ```text
///   window:  │ sent, for context │ held │      of the whole text
///            base                sent   end
/// ```
///
/// `base <= sent <= end`, all of them character borders.
#[derive(Debug)]
pub struct Scanner {
    rules: Arc<Rules>,
    policy: Arc<Policy>,
    location: Box<str>,
    shape: Shape,
    pass: Pass,
    restorer: Restorer,
    restores: bool,
    window: String,
    base: usize,
    sent: usize,
    /// Where the text begins, behind what stands before it.
    begin: usize,
    echo: Echo,
    blocked: Option<Found>,
    /// Number of the first value that was replaced in a JSON number.
    counted: Option<u32>,
    overran: bool,
    /// Findings by their place in the whole text, where somebody wants them.
    record: Option<Record>,
}

/// What becomes of the last finding: it may be the request's own.
#[derive(Debug, Clone, Default, PartialEq)]
enum Echo {
    /// It is replaced, or refused.
    #[default]
    No,
    /// It passes.
    Passes,
    /// It lies in what stands before the text.
    Before(Found),
    /// It is a key, and so far one that the request carried begins as it does. It is held until it ends, or differs.
    Perhaps(Found),
}

/// Findings to be asked for.
#[derive(Debug, Default)]
struct Record {
    whole: Vec<Found>,
    /// The last one that acts: a key's run may still go on.
    open: Option<Found>,
    /// The last one that does not, while its run goes on.
    observed: Option<Found>,
}

impl Scanner {
    pub fn new(rules: &Arc<Rules>, policy: &Arc<Policy>) -> Scanner {
        Scanner {
            rules: rules.clone(),
            policy: policy.clone(),
            location: "".into(),
            shape: Shape::Text,
            pass: Pass::new(rules, policy),
            restorer: Restorer::default(),
            restores: true,
            window: String::new(),
            base: 0,
            sent: 0,
            begin: 0,
            echo: Echo::No,
            blocked: None,
            counted: None,
            overran: false,
            record: None,
        }
    }

    /// Also keeps every finding, until [`Scanner::take_found`].
    #[must_use]
    pub fn recording(mut self) -> Scanner {
        self.record = Some(Record::default());
        self
    }

    /// The findings since the last call, by raw bytes of the whole text; but for the last, which may still grow until the end.
    /// One that is only recorded may reach over those that act: [`put_in_order`](super::put_in_order) cuts it.
    pub fn take_found(&mut self) -> Vec<Found> {
        let Some(record) = &mut self.record else { return Vec::new() };
        let mut found = std::mem::take(&mut record.whole);
        if self.sent == 0 {
            found.extend(record.open.take()); // finished
            found.extend(record.observed.take());
        }
        found
    }

    /// Sets the place under which findings are noted: `choices[0].message.content`.
    #[must_use]
    pub fn at(mut self, location: impl Into<Box<str>>) -> Scanner {
        self.location = location.into();
        self
    }

    /// Sets what the text is written as.
    #[must_use]
    pub fn shaped(mut self, shape: Shape) -> Scanner {
        self.shape = shape;
        self
    }

    /// What comes next is written as something else.
    pub(crate) fn set_shape(&mut self, shape: Shape) {
        self.shape = shape;
    }

    /// The number of the first value that was replaced since the last call, where JSON numbers are read.
    pub(crate) fn take_counted(&mut self) -> Option<u32> {
        self.counted.take()
    }

    /// Leaves stand-ins as they are: for texts that nothing may change. They are no findings there either.
    #[must_use]
    pub fn keeping_stand_ins(mut self) -> Scanner {
        self.restores = false;
        self
    }

    /// What stands before the text where it came from, such as the key of a value: rules see it, but it is no part of the text, and what
    /// is found in it alone is no finding. For a text that has not begun.
    pub(crate) fn begin_after(&mut self, context: &str, masker: &mut Masker) {
        if self.policy.is_idle() || self.blocked.is_some() {
            return;
        }
        self.window.push_str(context);
        (self.sent, self.begin) = (context.len(), context.len());
        self.read(masker, &mut String::new());
    }

    /// Takes the next piece; appends to `out` what may leave now. Pseudonyms of the masker's request are swapped back.
    pub fn push(&mut self, text: &str, masker: &mut Masker, out: &mut String) -> Flow {
        let Some(stand_ins) = masker.stand_ins().cloned() else { return self.scan(text, masker, out) };
        let mut restorer = std::mem::take(&mut self.restorer);
        let rules = self.rules.clone();
        let reading = Reading { fold: &rules.fold, escapes: self.policy.switches().decode };
        restorer.feed(text, &stand_ins, &reading, |part| self.take(&part, masker, out) == Flow::Pass);
        self.restorer = restorer;
        self.flow()
    }

    /// The text is over: appends the rest. The scanner is then as new, unless it has blocked.
    pub fn finish(&mut self, masker: &mut Masker, end: End, out: &mut String) -> Flow {
        if self.restorer.held() > 0
            && let Some(stand_ins) = masker.stand_ins().cloned()
        {
            let mut restorer = std::mem::take(&mut self.restorer);
            let rules = self.rules.clone();
            let reading = Reading { fold: &rules.fold, escapes: self.policy.switches().decode };
            restorer.finish(&stand_ins, &reading, |part| self.take(&part, masker, out) == Flow::Pass);
        }
        self.restorer = Restorer::default();
        self.end(masker, end, out);
        self.flow()
    }

    fn take(&mut self, part: &Part<'_>, masker: &mut Masker, out: &mut String) -> Flow {
        match part {
            Part::Plain(text) => self.scan(text, masker, out),
            Part::StandIn { original, written, escape } => {
                // No finding reaches over a stand-in, and what it stands for is the caller's own.
                self.end(masker, End::Whole, out);
                if self.blocked.is_none() {
                    match escape.filter(|_| self.restores) {
                        Some(escape) => out.push_str(&escape.write(original)),
                        None => out.push_str(if self.restores { original } else { written }),
                    }
                }
                self.flow()
            }
        }
    }

    fn end(&mut self, masker: &mut Masker, end: End, out: &mut String) {
        if self.blocked.is_none() {
            self.step(masker, out, |pass, rules, policy, view, sink| {
                let go_on = pass.finish(rules, policy, view, end, sink);
                go_on && sink.key_ends(view.end)
            });
        }
        self.reset();
    }

    #[inline]
    fn scan(&mut self, text: &str, masker: &mut Masker, out: &mut String) -> Flow {
        if self.policy.is_idle() {
            out.push_str(text);
            return Flow::Pass;
        }
        if text.len() > SHORT || self.blocked.is_some() {
            return self.scan_long(text, masker, out);
        }
        self.window.push_str(text);
        if self.glide(out) {
            return Flow::Pass;
        }
        self.read(masker, out);
        self.flow()
    }

    #[inline(never)]
    fn scan_long(&mut self, text: &str, masker: &mut Masker, out: &mut String) -> Flow {
        let mut rest = text;
        while !rest.is_empty() && self.blocked.is_none() {
            let mut cut = rest.len().min(SLICE);
            while !rest.is_char_boundary(cut) {
                cut += 1;
            }
            let (piece, others) = rest.split_at(cut);
            rest = others;
            self.window.push_str(piece);
            self.read(masker, out);
        }
        self.flow()
    }

    /// Reads what the window has gained.
    #[inline(never)]
    fn read(&mut self, masker: &mut Masker, out: &mut String) {
        self.step(masker, out, |pass, rules, policy, view, sink| {
            pass.advance(rules, policy, view);
            pass.settle(rules, policy, view, sink)
        });
        self.forget();
    }

    /// Reads a short piece in which nothing begins; false: it is to be read the long way.
    #[inline]
    fn glide(&mut self, out: &mut String) -> bool {
        let end = self.base + self.window.len();
        let view = View { text: &self.window, base: self.base, end, fold: &self.rules.fold, decoded: None };
        if !self.pass.glide(&self.rules, &self.policy, &view) {
            return false;
        }
        let frontier = self.pass.frontier();
        if frontier > self.sent {
            out.push_str(view.raw(self.sent, frontier));
            self.sent = frontier;
        }
        if self.window.len() >= SLACK + MARGIN {
            self.forget();
        }
        true
    }

    /// The text broke off: throws away what is held and says how many bytes that was.
    pub fn discard(&mut self) -> usize {
        let held = self.held();
        self.restorer = Restorer::default();
        self.reset();
        held
    }

    fn reset(&mut self) {
        self.pass = Pass::new(&self.rules, &self.policy);
        self.window.clear();
        (self.base, self.sent, self.begin, self.echo) = (0, 0, 0, Echo::No);
    }

    /// Whether a value went on past the raw bytes that may be held: a beginning of it was taken for a finding, what follows may be
    /// the rest of it. Who must be sure ends the text here.
    pub fn overran(&self) -> bool {
        self.overran
    }

    /// Bytes held back now.
    pub fn held(&self) -> usize {
        let window = self.base + self.window.len() - self.sent;
        if self.blocked.is_some() { 0 } else { window + self.restorer.held() }
    }

    /// Units held back now, what prints nothing left out.
    #[cfg(test)]
    pub(super) fn held_units(&self) -> usize {
        let held = &self.window[self.sent - self.base..];
        held.chars().filter(|c| self.rules.fold.unit(*c) != super::units::NOTHING).count()
    }

    /// Whether what the text stands for is read beside it.
    #[cfg(test)]
    pub(super) fn is_forked(&self) -> bool {
        self.pass.is_forked()
    }

    fn flow(&self) -> Flow {
        self.blocked.clone().map_or(Flow::Pass, Flow::Block)
    }

    /// Runs one step of the sweep over the window and sends what it clears.
    fn step(
        &mut self,
        masker: &mut Masker,
        out: &mut String,
        step: impl FnOnce(&mut Pass, &Rules, &Policy, &View<'_>, &mut Output<'_>) -> bool,
    ) {
        let end = self.base + self.window.len();
        let view = View { text: &self.window, base: self.base, end, fold: &self.rules.fold, decoded: None };
        let mut output = Output {
            view,
            masker,
            out,
            location: &self.location,
            shape: self.shape,
            may_echo: self.policy.switches().echo && self.policy.direction() == super::Direction::Answer,
            sent: &mut self.sent,
            begin: self.begin,
            echo: &mut self.echo,
            blocked: &mut self.blocked,
            counted: &mut self.counted,
            record: &mut self.record,
        };
        step(&mut self.pass, &self.rules, &self.policy, &view, &mut output);
        if output.blocked.is_none() {
            output.send(self.pass.frontier());
        }
        self.overran |= self.pass.overran();
    }

    /// Drops what was sent and can no longer be looked at.
    #[inline(never)]
    fn forget(&mut self) {
        self.pass.forget();
        if self.window.len() < SLACK + MARGIN {
            return;
        }
        let keep = self.pass.needed().min(self.sent);
        let mut gone = keep.saturating_sub(self.base);
        if gone < SLACK + MARGIN {
            return;
        }
        while !self.window.is_char_boundary(gone) {
            gone -= 1;
        }
        self.window.drain(..gone);
        self.base += gone;
    }
}

/// Where settled text and findings go.
struct Output<'a> {
    view: View<'a>,
    masker: &'a mut Masker,
    out: &'a mut String,
    location: &'a str,
    shape: Shape,
    may_echo: bool,
    sent: &'a mut usize,
    begin: usize,
    echo: &'a mut Echo,
    blocked: &'a mut Option<Found>,
    counted: &'a mut Option<u32>,
    record: &'a mut Option<Record>,
}

impl Output<'_> {
    /// Sends the text up to `end` as it is, or up to a key of which nobody knows yet whether it may pass.
    fn send(&mut self, end: usize) {
        if end > *self.sent && !matches!(self.echo, Echo::Perhaps(_)) {
            self.out.push_str(self.view.raw(*self.sent, end));
            *self.sent = end;
        }
    }

    /// Something stands in the place of a finding up to `end`; false if it is refused.
    fn replace(&mut self, found: Found, end: usize) -> bool {
        *self.echo = Echo::No;
        let value = self.view.raw(found.span.start, found.span.end);
        self.masker.note(self.location, &found, value);
        if found.action == Action::Block {
            *self.blocked = Some(found);
            return false;
        }
        *self.sent = end;
        if self.shape == Shape::JsonNumber {
            self.counted.get_or_insert(self.masker.number(&found, value).unwrap_or_default());
        }
        let stand_in = self.masker.stand_in(&found, value, self.shape);
        self.out.push_str(&stand_in);
        if let Some(record) = self.record {
            let grown = Found { span: found.span.start..end, ..found };
            record.whole.extend(record.open.replace(grown));
        }
        true
    }

    /// The key that may be the request's ends here; false if it is another, and refused.
    fn key_ends(&mut self, end: usize) -> bool {
        let Echo::Perhaps(found) = &*self.echo else { return true };
        if self.masker.may_repeat(found, self.view.raw(found.span.start, end), true) != Repeats::Yes {
            let found = found.clone();
            return self.replace(found, end);
        }
        *self.echo = Echo::Passes;
        self.send(end);
        true
    }
}

/// Cuts a finding down to what stands behind `from`; `Err`: it lies before that.
fn cut_down(mut found: Found, from: usize) -> Result<Found, Found> {
    let before = from.saturating_sub(found.span.start);
    if found.span.end <= found.span.start + before {
        return Err(found);
    }
    found.span.start += before;
    found.identity = found.identity.saturating_sub(before);
    Ok(found)
}

impl Sink for Output<'_> {
    fn act(&mut self, found: Found) -> bool {
        let found = match cut_down(found, *self.sent) {
            Ok(found) => found,
            Err(found) => {
                *self.echo = Echo::Before(found);
                return true;
            }
        };
        let value = self.view.raw(found.span.start, found.span.end);
        self.send(found.span.start);
        let repeats = if self.may_echo { self.masker.may_repeat(&found, value, false) } else { Repeats::No };
        *self.echo = match repeats {
            Repeats::Yes => Echo::Passes,
            Repeats::Perhaps => Echo::Perhaps(found),
            Repeats::No => {
                let end = found.span.end;
                return self.replace(found, end);
            }
        };
        true
    }

    fn extend(&mut self, end: usize, goes_on: bool) -> bool {
        match &*self.echo {
            Echo::Passes => true,
            Echo::Before(_) if end <= *self.sent => true,
            Echo::Before(found) => {
                // Known by what committed it, before the text: of the rest there is as much as has come.
                let found = found.clone();
                self.replace(found, end)
            }
            Echo::Perhaps(_) if !goes_on => self.key_ends(end),
            Echo::Perhaps(found) => {
                if self.masker.may_repeat(found, self.view.raw(found.span.start, end), false) != Repeats::No {
                    return true;
                }
                let found = found.clone();
                self.replace(found, end)
            }
            Echo::No => {
                *self.sent = end.max(*self.sent);
                if let Some(open) = self.record.as_mut().and_then(|record| record.open.as_mut()) {
                    open.span.end = end;
                }
                true
            }
        }
    }

    fn observe(&mut self, found: Found, goes_on: bool) {
        let Ok(found) = cut_down(found, self.begin) else { return };
        let value = self.view.raw(found.span.start, found.span.end);
        self.masker.note(self.location, &found, value);
        if let Some(record) = self.record {
            record.whole.extend(record.observed.take());
            let found = Some(found);
            if goes_on { record.observed = found } else { record.whole.extend(found) }
        }
    }

    fn extend_observed(&mut self, end: usize, goes_on: bool) {
        let Some(record) = self.record else { return };
        if let Some(observed) = &mut record.observed {
            observed.span.end = end;
        }
        if !goes_on {
            record.whole.extend(record.observed.take());
        }
    }

    /// What arrives in pieces is an answer: it has its target.
    fn demand(&mut self, _rule: RuleId, _span: Range<usize>) {}

    /// Its number was given out by the request's end.
    fn stand_in(&mut self, _rule: RuleId, _number: u32) {}
}

#[cfg(test)]
mod tests;
