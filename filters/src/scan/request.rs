//! Screening a request: every text of a [`Call`] is scanned decoded, and what policy changes becomes splices of the body.
//!
//! Escapes cannot hide a value, since decoded text is scanned; and they survive, since only the found value's own bytes are
//! replaced, in the spelling its place needs: in a string, in a string that holds JSON, or in JSON. In JSON a
//! mask keeps type and shape: a number stays a number.
//!
//! A block looks at what is new: the last user message and the tool results after it. In anything earlier the same value is
//! masked, so that one mistake, sent again as history, does not end a conversation for good.

mod audit;
mod ids;
mod nested;
mod refusal;

use std::borrow::Cow;
use std::ops::Range;

pub use audit::texts_for_audit;
pub use ids::Identifiers;

use self::refusal::Refusal;
use super::injection::{self, Scratch};
use super::mask::shape;
use super::rules::Scanned;
use super::{Action, Demands, Direction, End, Finding, Found, Masker, Policy, RuleId, Rules, Shape};
use crate::chat::{Call, Form, Role, Text};
use crate::json::{self, Edits, OffsetMap};
use crate::verdict::{Code, Rejection};

/// What an operator may set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// Show found values in the details of a refusal.
    pub show_values: bool,
    /// What becomes of ids.
    pub identifiers: Identifiers,
}

/// What screening decided.
#[derive(Debug, Default)]
pub struct Screened {
    /// For [`Call::outgoing`]. After a refusal too: then they only serve [`texts_for_audit`].
    pub edits: Edits,
    /// Why the request is refused, if it is.
    pub rejection: Option<Rejection>,
    /// Labels that findings demand of every target the request goes to.
    pub require: Demands,
    /// Labels that findings would demand if their rules were not in shadow.
    pub would_require: Demands,
    /// Bytes of decoded text that were scanned.
    pub scanned: usize,
    /// Values that pass on but are kept out of the audit trail: those that are only logged, and those in texts that must reach
    /// the upstream as they are.
    unseen: Edits,
    /// The guard failed: the audit trail gets nothing of the texts.
    unchecked: bool,
}

/// What happens to one finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Passes to the upstream.
    Passes,
    /// A stand-in goes instead.
    Replaced,
    /// The request is refused.
    Refused,
}

/// Where a finding lies in the text that was decoded once.
struct Cut {
    span: Range<usize>,
    shape: Shape,
    /// The number that stands there.
    number: Option<String>,
    /// It lies in JSON inside that text: the stand-in is escaped for it.
    nested: bool,
}

/// Scans all texts of a call, in the order of the body. Findings are noted in `masker`, which the answer's pipeline gets next.
///
/// `body` must be the bytes that `call` was read from; other bytes are refused with GUARDRAIL_FAILED, never passed unscanned.
pub fn screen(
    call: &Call,
    body: &[u8],
    rules: &Rules,
    policy: &Policy,
    masker: &mut Masker,
    options: Options,
) -> Screened {
    let idle = policy.is_idle() && policy.switches().injection.is_off();
    if (idle || call.texts.is_empty()) && options.identifiers == Identifiers::Pass {
        return Screened::default();
    }
    let Ok(text) = std::str::from_utf8(body) else { return Screened::failed() };
    let mut screening = Screening {
        body: text,
        rules,
        policy,
        masker,
        found: Vec::new(),
        scratch: Scratch::default(),
        refusal: Refusal::new(options.show_values),
        contradiction: None,
        done: Screened::default(),
    };
    if options.identifiers == Identifiers::Hash {
        let Some(key) = screening.masker.key() else { return Screened::failed() };
        if ids::hash(&call.ids, text, key, &mut screening.done.edits).is_none() {
            return Screened::failed();
        }
    }
    let mut locator = call.locator(body);
    let texts = if idle { &[][..] } else { &call.texts };
    for text in texts {
        if let Err(why) = screening.text(text, &mut locator) {
            return Screened::unchecked(why);
        }
    }
    let Screening { refusal, contradiction, mut done, .. } = screening;
    done.rejection = refusal.into_rejection().or(contradiction);
    done
}

impl Screened {
    fn failed() -> Screened {
        Screened::unchecked(Unchecked::Misread)
    }

    fn unchecked(why: Unchecked) -> Screened {
        let message = match why {
            Unchecked::Misread => {
                "The request could not be checked. Send it again; if this stays, report it.".to_owned()
            }
            Unchecked::Overran(location) => format!(
                "{location} could not be checked: inside of what may be a value stand more characters that print nothing \
                 (zero-width spaces, combining marks) than are looked through. Take them out and send it again."
            ),
        };
        let rejection = Some(Rejection::new(Code::GuardrailFailed, message));
        Screened { rejection, unchecked: true, ..Screened::default() }
    }
}

/// Why a text could not be checked.
enum Unchecked {
    /// Its spans do not fit the body, or the scanner's the text.
    Misread,
    /// A value in it, at this place, may go on behind what was found of it.
    Overran(String),
}

struct Screening<'a> {
    body: &'a str,
    rules: &'a Rules,
    policy: &'a Policy,
    masker: &'a mut Masker,
    /// Kept for its capacity.
    found: Vec<Found>,
    scratch: Scratch,
    refusal: Refusal,
    /// Two findings demand what no target can be.
    contradiction: Option<Rejection>,
    done: Screened,
}

impl Screening<'_> {
    /// One text.
    fn text(&mut self, text: &Text, locator: &mut impl FnMut(usize) -> String) -> Result<(), Unchecked> {
        let quote = usize::from(text.form != Form::Json);
        let start = text.span.start + quote;
        let inside = text.span.end.checked_sub(quote).and_then(|end| self.body.get(start..end));
        let literal = inside.ok_or(Unchecked::Misread)?;
        let decoded = if text.escaped { json::decode(literal) } else { Cow::Borrowed(literal) };
        let is_json = text.form == Form::Json || text.form == Form::JsonInside && looks_like_json(&decoded);
        let flat = if is_json { nested::flatten(&decoded) } else { None };
        let scanned = flat.as_deref().unwrap_or(&decoded);

        let mut found = std::mem::take(&mut self.found);
        self.done.scanned += scanned.len();
        let Scanned { demanded, stand_ins, overran } =
            self.rules.scan_fully(self.policy, scanned, End::Whole, &mut found);
        if overran && acted_on(text) {
            return Err(Unchecked::Overran(locator(text.span.start)));
        }
        for (rule, number) in stand_ins {
            self.masker.keep_free(&self.rules.info(rule).kind, number);
        }
        for (kind, number) in shape::masks(scanned) {
            self.masker.keep_free(&kind, number);
        }
        if !found.is_empty() {
            let nested = if is_json { nested::places(&decoded, &found, text.role) } else { None };
            let cuts = nested.unwrap_or_else(|| {
                let plain = |found: &Found| {
                    vec![Cut { span: found.span.clone(), shape: Shape::Text, number: None, nested: false }]
                };
                found.iter().map(plain).collect()
            });
            let map = text.escaped.then(|| OffsetMap::new(literal));
            let mut place = Place { start, map, location: locator(text.span.start) };
            for (rule, span) in demanded {
                // A bound in a schema demands nothing; what was not told of lies over what was.
                let from = found.partition_point(|found| found.span.end <= span.start);
                let mut over =
                    found.iter().zip(&cuts).skip(from).take_while(|(f, _)| f.span.start < span.end);
                if text.role != Role::Schema || over.any(|(_, cuts)| !cuts.is_empty()) {
                    self.demand(rule);
                }
            }
            for (found, cuts) in found.iter_mut().zip(&cuts) {
                let value = scanned.get(found.span.clone()).ok_or(Unchecked::Misread)?;
                // A bound in a schema: it stays, and is no finding.
                if text.role != Role::Schema || !cuts.is_empty() {
                    self.finding(text, &mut place, found, value, cuts);
                }
            }
        }
        found.clear();
        self.found = found;
        self.injection(text, scanned, locator);
        Ok(())
    }

    /// Asks whether the text is a prompt injection. One that was sent before is never a reason to refuse.
    fn injection(&mut self, text: &Text, scanned: &str, locator: &mut impl FnMut(usize) -> String) {
        let Some((action, threshold)) = self.policy.switches().injection.of(text.role) else { return };
        let escapes = self.policy.switches().decode;
        let score = self.rules.injection_through(escapes, scanned, &mut self.scratch);
        if score.points < threshold {
            return;
        }
        let refused = action == Action::Block && text.current;
        let action = if action == Action::Block && !refused { Action::Log } else { action };
        let location = locator(text.span.start);
        for (signal, _) in &score.signals {
            self.masker.tally(Finding {
                direction: Direction::Request,
                location: location.clone(),
                rule: signal.clone(),
                kind: injection::KIND.into(),
                action,
                would: (action == Action::Shadow && text.current).then_some(Action::Block),
                count: 1,
            });
        }
        if refused {
            let named: Vec<&str> = score.signals.iter().map(|(signal, _)| &**signal).collect();
            let seen = format!("{}, score {}", named.join(", "), score.points);
            self.refusal.add(text.role, injection::KIND, &location, &seen, seen.clone());
        }
    }

    /// Notes what labels a finding of `rule` demands.
    fn demand(&mut self, rule: RuleId) {
        let Some(demands) = self.policy.demands(rule) else { return };
        if self.policy.action(rule) == Action::Shadow {
            self.done.would_require.extend(demands.iter().map(|(name, value)| (name.clone(), value.clone())));
            return;
        }
        for (name, value) in demands {
            let known = self.done.require.entry(name.clone()).or_insert_with(|| value.clone());
            if known != value && self.contradiction.is_none() {
                let message = format!(
                    "What this request holds may only go to an upstream that is both {name}={known} and {name}={value}, which none can \
                     be. Send the parts in requests of their own."
                );
                self.contradiction = Some(Rejection::new(Code::NoUpstream, message));
            }
        }
    }

    fn finding(&mut self, text: &Text, place: &mut Place<'_>, found: &mut Found, value: &str, cuts: &[Cut]) {
        if found.action == Action::Shadow {
            // As it would have been here: what is blocked when it is new is masked in history.
            found.would = match (found.would.map(|would| fate(text, would)), found.would) {
                (Some(Fate::Refused), _) => Some(Action::Block),
                (Some(Fate::Replaced), Some(Action::Pseudonymise)) => Some(Action::Pseudonymise),
                (Some(Fate::Replaced), _) => Some(Action::Mask),
                _ => None,
            };
        }
        if found.open && found.identity > 0 {
            found.identity = value.len(); // the whole of it is here
        }
        let fate = fate(text, found.action);
        found.action = match (fate, found.action) {
            (Fate::Passes, action) if action.acts() => Action::Log,
            (Fate::Replaced, Action::Block) => Action::Mask,
            (_, action) => action,
        };
        self.masker.note(&place.location, found, value);
        let mut shown = None;
        for cut in cuts {
            let stand_in = match (fate, &cut.number) {
                (Fate::Passes, None) => format!("[{}]", found.kind.to_uppercase()),
                (Fate::Passes, Some(_)) => "0".to_owned(),
                (_, None) => self.masker.stand_in(found, value, cut.shape),
                (_, Some(literal)) => self.masker.number_stand_in(found, value, literal),
            };
            let span = place.of(cut.span.start)..place.of(cut.span.end);
            let layers = usize::from(cut.nested) + usize::from(text.form != Form::Json);
            let edits = if fate == Fate::Passes { &mut self.done.unseen } else { &mut self.done.edits };
            edits.replace(span, escaped(&stand_in, layers));
            shown = Some(stand_in);
        }
        if fate == Fate::Refused {
            let stand_in = shown.unwrap_or_else(|| format!("[{}]", found.kind.to_uppercase()));
            self.refusal.add(text.role, &found.kind, &place.location, value, stand_in);
        }
    }
}

/// One text's place in the body.
struct Place<'a> {
    /// Where it begins, inside its quote.
    start: usize,
    /// For a literal with escapes.
    map: Option<OffsetMap<'a>>,
    location: String,
}

impl Place<'_> {
    /// Offset in the body of an offset in the text. Asked in ascending order.
    fn of(&mut self, offset: usize) -> usize {
        self.start + self.map.as_mut().map_or(offset, |map| map.raw(offset))
    }
}

fn fate(text: &Text, action: Action) -> Fate {
    match action {
        Action::Off | Action::Log | Action::Shadow => Fate::Passes,
        Action::Mask | Action::Pseudonymise if text.rewrite => Fate::Replaced,
        Action::Mask | Action::Pseudonymise => Fate::Passes,
        Action::Block if text.current => Fate::Refused,
        Action::Block if text.rewrite => Fate::Replaced,
        // The first block of a system prompt cannot be masked, so it is refused; signed thinking is history, and passes.
        Action::Block if text.role == Role::System => Fate::Refused,
        Action::Block => Fate::Passes,
    }
}

/// Whether anything that is found in the text can be replaced, or a reason to refuse.
fn acted_on(text: &Text) -> bool {
    [Action::Mask, Action::Block].iter().any(|action| fate(text, *action) != Fate::Passes)
}

/// Written for a place inside so many string literals, one in the other.
fn escaped(stand_in: &str, layers: usize) -> Vec<u8> {
    let mut written = stand_in.to_owned();
    for _ in 0..layers {
        let mut outer = Vec::with_capacity(written.len());
        json::encode_inner(&written, &mut outer);
        // Encoding keeps UTF-8; the lossy way is the total one.
        written = String::from_utf8_lossy(&outer).into_owned();
    }
    written.into_bytes()
}

/// Worth trying to read as JSON: an object or an array. A scalar is text to its reader.
fn looks_like_json(text: &str) -> bool {
    text.trim_start_matches([' ', '\n', '\r', '\t']).starts_with(['{', '['])
}

#[cfg(test)]
mod tests;
