//! Rules, compiled once and shared.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use super::email::TopLevel;
use super::escape::MAX_ESCAPE;
use super::injection::{Injection, InjectionSpec, Score, Scratch};
use super::machine::{Automaton, in_context};
use super::mask::shape::Form;
use super::policy::{Reach, Runs};
use super::sweep::{MAX_BEGUN, MAX_RAW_PER_UNIT, Pass, Whole, put_in_order};
use super::terms::{Dictionary, Lexer, TermFold};
use super::trigger::{Bucket, LANES, Set, Triggers};
use super::units::{Fold, View};
use super::{Action, Direction, End, Escapes, Policy, Profile, RuleSpec, Severity, Switches};

mod compile;
mod examples;
mod starts;
mod words;

pub(super) use super::spec::Detector;
pub(super) use starts::{Opens, Start, Starts};
pub(super) use words::{Context, Nearness, Words};

/// A rule's place in its [`Rules`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(u16);

impl RuleId {
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// What others need to know of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleInfo {
    pub id: Arc<str>,
    pub kind: Arc<str>,
    pub severity: Severity,
    /// Most normalised bytes that the rule ever holds back.
    pub max_hold: usize,
}

/// A rule that cannot be compiled, or does not do what its examples say.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("rule `{rule}`: {message}")]
pub struct RuleError {
    /// The rule's id.
    pub rule: String,
    /// What is wrong, and what to write instead.
    pub message: String,
}

/// One finding in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub rule: RuleId,
    /// The rule's name.
    pub rule_id: Arc<str>,
    pub kind: Arc<str>,
    pub action: Action,
    /// What would have been done, where the action is [`Action::Shadow`].
    pub would: Option<Action>,
    pub direction: Direction,
    /// Raw bytes of the text.
    pub span: Range<usize>,
    /// How many raw bytes of the span tell this value from others: all, but for open-ended keys, known by where they committed.
    /// None of what goes on behind a finding that stands inside of this one: it was counted.
    pub identity: usize,
    /// Its rule has an open end: the value may go on behind what committed it.
    pub open: bool,
    /// Escapes that were looked through to find it.
    pub decoded: Escapes,
}

/// What a scan of a whole text tells beside its findings.
#[derive(Debug, Default)]
pub(super) struct Scanned {
    /// What the rules that demand labels have found, also where nothing is told of it as it overlaps a finding.
    pub(super) demanded: Vec<(RuleId, Range<usize>)>,
    /// Stand-ins that came back, with the numbers that they bear.
    pub(super) stand_ins: Vec<(RuleId, u32)>,
    /// A value of a rule that acts went on past the raw bytes that it may have: what follows may be the rest of it.
    pub(super) overran: bool,
}

/// A prefix, and the run behind it where it is a key's.
#[derive(Debug)]
pub(super) struct KeyForm {
    pub(super) prefix: Vec<u8>,
    pub(super) class: Box<Set>,
    pub(super) min: usize,
    pub(super) max: Option<usize>,
    pub(super) random: bool,
    /// The prefix is no part of the value.
    pub(super) label: bool,
    /// What stands before the prefix and belongs to the value.
    pub(super) lead: Option<LeadForm>,
}

/// A run before a prefix.
#[derive(Debug)]
pub(super) struct LeadForm {
    pub(super) class: Box<Set>,
    pub(super) min: usize,
    pub(super) max: usize,
}

impl KeyForm {
    /// A name, scheme or first line that a detector looks for.
    fn literal(prefix: &str) -> KeyForm {
        let class = Box::new([false; 256]);
        let prefix = prefix.as_bytes().to_vec();
        KeyForm { prefix, class, min: 0, max: None, random: false, label: false, lead: None }
    }
}

/// All rules with their automata. Shared in an `Arc`.
#[derive(Debug)]
pub struct Rules {
    infos: Vec<RuleInfo>,
    specs: Vec<Compiled>,
    detectors: [Option<RuleId>; Detector::COUNT],
    pub(super) triggers: Triggers,
    pub(super) fold: Fold,
    pub(super) top_level: TopLevel,
    pub(super) keys: Vec<KeyForm>,
    pub(super) starts: Starts,
    pub(super) automata: Vec<Automaton>,
    /// Rules that are lists of terms.
    dictionaries: Vec<(RuleId, Arc<Dictionary>)>,
    /// How the characters of terms compare; only where there are any.
    pub(super) term_fold: Option<TermFold>,
    /// Rule of each automaton.
    pub(super) patterns: Vec<RuleId>,
    injection: Injection,
}

/// What a rule is asked when a candidate is judged.
#[derive(Debug)]
struct Compiled {
    words: Words,
    validator: Option<super::Validator>,
    /// Whether a match needs a word for it.
    needs_context: bool,
    /// The form of stand-ins that the rule could find and leaves alone.
    stand_ins: Option<Form>,
}

/// Detectors that share the reading of numbers.
const NUMBERS: [Detector; 4] = [Detector::Ipv4, Detector::Ssn, Detector::Card, Detector::Phone];

/// The rule files that are built in.
const BUILTIN: [&str; 2] =
    [include_str!("../../../conf/rules/personal.yaml"), include_str!("../../../conf/rules/secrets.yaml")];

impl Rules {
    /// The rules of `conf/rules`.
    pub fn builtin_specs() -> Vec<RuleSpec> {
        let parse = |text: &&str| Rules::parse(text).expect("built-in rules parse, as a test shows");
        BUILTIN.iter().flat_map(parse).collect()
    }

    /// Reads a rule file: a list of rules.
    pub fn parse(yaml: &str) -> Result<Vec<RuleSpec>, String> {
        serde_saphyr::from_str(yaml).map_err(|e| e.to_string())
    }

    /// Compiles rules; all errors at once.
    pub fn compile(specs: &[RuleSpec]) -> Result<Rules, Vec<RuleError>> {
        Rules::compile_with(specs, &[])
    }

    /// The same with signals of prompt injections besides the built-in ones.
    pub fn compile_with(specs: &[RuleSpec], signals: &[InjectionSpec]) -> Result<Rules, Vec<RuleError>> {
        compile::compile(specs, signals)
    }

    /// Runs the examples of signals of prompt injections against all of them.
    pub fn check_signals(&self, signals: &[InjectionSpec]) -> Vec<RuleError> {
        self.injection.check(signals, &self.fold)
    }

    /// Runs each rule's own examples against all of them.
    pub fn check(&self, specs: &[RuleSpec]) -> Vec<RuleError> {
        examples::check(self, specs)
    }

    /// What is known of a rule.
    pub fn info(&self, rule: RuleId) -> &RuleInfo {
        &self.infos[rule.index()]
    }

    /// All rules, in their order.
    pub fn infos(&self) -> impl Iterator<Item = (RuleId, &RuleInfo)> {
        self.infos.iter().enumerate().map(|(i, info)| (RuleId(i as u16), info))
    }

    /// Most normalised bytes that the rule ever holds back.
    pub fn max_hold(&self, rule: RuleId) -> usize {
        self.info(rule).max_hold
    }

    /// Most that a scanner with this policy ever holds back: normalised bytes, and raw bytes.
    ///
    /// A unit may take four raw bytes, and what prints nothing between units counts; where only short values are looked for, a
    /// few units with such characters between them may be more than four times as long. Where escapes are looked through, a short
    /// value may take what a long one may: four raw bytes for each unit of the rule that holds most, whether that acts or not.
    pub fn max_held(&self, policy: &Policy) -> (usize, usize) {
        let acting = self.infos().filter(|(rule, _)| policy.acts_on(*rule));
        let units = acting.map(|(_, info)| info.max_hold).max().unwrap_or(0);
        let raw = match (units, policy.switches().decode.is_none()) {
            (0, _) => 0,
            (_, true) => MAX_RAW_PER_UNIT * units.max(MAX_BEGUN),
            (_, false) => self.most_escaped(),
        };
        (units, raw)
    }

    /// Most raw bytes that are held where escapes are looked through.
    fn most_escaped(&self) -> usize {
        let most = self.infos.iter().map(|info| info.max_hold).max().unwrap_or(0);
        MAX_RAW_PER_UNIT * most.max(MAX_BEGUN)
    }

    /// Resolves actions for one direction.
    pub fn policy(
        &self,
        direction: Direction,
        action_of: impl Fn(&RuleInfo) -> Action,
        switches: Switches,
    ) -> Policy {
        let actions: Vec<Action> = self.infos.iter().map(action_of).collect();
        let watch = self.triggers.watch(|bucket| {
            let strongest =
                self.rules_of(bucket).map(|rule| actions[rule.index()]).max().unwrap_or(Action::Off);
            // Names are no part of what is found, and what stands before an `@` or colon is held as a run.
            let holds = strongest.acts() && !matches!(bucket, Bucket::Name | Bucket::Email | Bucket::Ipv6);
            (strongest != Action::Off, holds)
        });
        let beginnings = self.beginnings(&actions, false);
        let marks = self.beginnings(&actions, true);
        let strongest = |detectors: &[Detector]| {
            let actions = detectors
                .iter()
                .filter_map(|detector| self.detector(*detector))
                .map(|rule| actions[rule.index()]);
            actions.max().unwrap_or(Action::Off)
        };
        let leads = self.starts.iter().filter(|start| self.keys[usize::from(start.key)].lead.is_some());
        let runs = Runs {
            lead: leads.map(|start| actions[start.rule.index()]).max().unwrap_or(Action::Off),
            email: strongest(&[Detector::Email]),
            ipv6: strongest(&[Detector::Ipv6]),
            number: strongest(&NUMBERS),
        };
        let observes = actions.iter().any(|action| *action != Action::Off && !action.acts());
        let most_raw = match switches.decode.is_none() {
            true => usize::MAX,
            // What may become an escape waits behind a candidate, and is held as well.
            false => self.most_escaped() - (MAX_ESCAPE - 1),
        };
        let reach = Reach { watch, beginnings, marks, runs, observes, most_raw };
        Policy::new(direction, actions, switches, reach)
    }

    /// Beginnings of the prefixes of rules that act, or of those with a lead: what a text may end with and become a finding.
    fn beginnings(&self, actions: &[Action], led: bool) -> Vec<u64> {
        let held = self.starts.iter().filter(|start| {
            let form = &self.keys[usize::from(start.key)];
            let label = form.label || start.opens == Opens::Assignment;
            actions[start.rule.index()].acts() && !label && form.lead.is_some() == led
        });
        let mut beginnings: Vec<u64> = held
            .flat_map(|start| {
                let prefix = &self.keys[usize::from(start.key)].prefix;
                (1..prefix.len().min(LANES - 1)).map(|len| packed(&prefix[..len]))
            })
            .collect();
        beginnings.sort_unstable();
        beginnings.dedup();
        beginnings
    }

    /// The policy of a profile as it stands.
    pub fn policy_of(&self, profile: &Profile, direction: Direction) -> Policy {
        self.policy_by(direction, |rule| profile.treatment(rule, direction), profile.switches())
    }

    /// Appends the findings in `text` to `found`, leftmost first, none overlapping another.
    pub fn scan(&self, policy: &Policy, text: &str, found: &mut Vec<Found>) {
        self.scan_fully(policy, text, End::Whole, found);
    }

    /// The same of a text that may have been cut anywhere: a value that had only begun is found too, by rules that act.
    pub fn scan_cut(&self, policy: &Policy, text: &str, found: &mut Vec<Found>) {
        self.scan_fully(policy, text, End::CutShort, found);
    }

    /// The same, and what else there is to know.
    pub(super) fn scan_fully(
        &self,
        policy: &Policy,
        text: &str,
        ends: End,
        found: &mut Vec<Found>,
    ) -> Scanned {
        /// Bytes between two settlements: keeps what is decided, but not settled, in the cache.
        const SLICE: usize = 32 * 1024;
        /// The same while escapes are looked through: the sooner that is over, the better.
        const SHORT_SLICE: usize = 2 * 1024;
        if policy.is_idle() {
            return Scanned::default();
        }
        let first = found.len();
        let mut pass = Pass::new(self, policy);
        let mut sink = Whole::new(policy, found);
        let mut end = 0;
        while end < text.len() {
            end = (end + if pass.is_forked() { SHORT_SLICE } else { SLICE }).min(text.len());
            while !text.is_char_boundary(end) {
                end += 1;
            }
            let view = View { text, base: 0, end, fold: &self.fold, decoded: None };
            pass.advance(self, policy, &view);
            pass.settle(self, policy, &view, &mut sink);
            pass.forget();
        }
        let view = View { text, base: 0, end, fold: &self.fold, decoded: None };
        pass.finish(self, policy, &view, ends, &mut sink);
        let beside = sink.into_beside();
        put_in_order(found, first);
        Scanned { overran: pass.overran(), ..beside }
    }

    /// How much of a prompt injection a text is.
    pub fn injection(&self, text: &str, scratch: &mut Scratch) -> Score {
        self.injection.score(&self.fold, text, scratch)
    }

    /// The same; or how much of one it is when its escapes are decoded, if that is more.
    pub fn injection_through(&self, escapes: Escapes, text: &str, scratch: &mut Scratch) -> Score {
        let score = self.injection(text, scratch);
        match escapes.decode(text) {
            Cow::Borrowed(_) => score,
            Cow::Owned(decoded) => {
                let other = self.injection(&decoded, scratch);
                if other.points > score.points { other } else { score }
            }
        }
    }

    pub(super) fn detector(&self, detector: Detector) -> Option<RuleId> {
        self.detectors[detector as usize]
    }

    /// The rules that a bucket's hits are asked for.
    fn rules_of(&self, bucket: Bucket) -> impl Iterator<Item = RuleId> {
        let detectors: &[Detector] = match bucket {
            Bucket::Email => &[Detector::Email],
            Bucket::Number => &NUMBERS,
            Bucket::Ipv6 => &[Detector::Ipv6],
            Bucket::Iban => &[Detector::Iban],
            _ => &[],
        };
        let patterns: &[RuleId] = if bucket == Bucket::Pattern { &self.patterns } else { &[] };
        let starts = self.starts.iter().filter(move |start| start.bucket == bucket).map(|start| start.rule);
        detectors
            .iter()
            .filter_map(|detector| self.detector(*detector))
            .chain(starts)
            .chain(patterns.iter().copied())
    }

    /// What is said before `at` about whether this is what the rule looks for.
    pub(super) fn context(&self, rule: RuleId, view: &View<'_>, at: usize) -> Context {
        self.specs[rule.index()].words.context(view, at)
    }

    /// How close the word stands that says that this is what the rule looks for.
    pub(super) fn nearness(&self, rule: RuleId, view: &View<'_>, at: usize) -> Nearness {
        self.specs[rule.index()].words.nearness(view, at)
    }

    pub(super) fn validator(&self, rule: RuleId) -> Option<super::Validator> {
        self.specs[rule.index()].validator
    }

    /// The number that `text` bears, which the rule has found, if it is a stand-in that came back in a conversation.
    pub(super) fn stand_in_number(&self, rule: RuleId, text: &str) -> Option<u32> {
        self.specs[rule.index()].stand_ins.and_then(|form| form.number_of(text))
    }

    #[cfg(test)]
    pub(super) fn knowing_no_stand_ins(mut self) -> Rules {
        self.specs.iter_mut().for_each(|spec| spec.stand_ins = None);
        self
    }

    /// Whether a rule that asks for words before a match at `at` is given them.
    pub(super) fn is_in_context(&self, rule: RuleId, view: &View<'_>, at: usize) -> bool {
        !self.specs[rule.index()].needs_context || in_context(self.context(rule, view, at), true)
    }

    /// What reads a text's terms; none if the policy looks for none.
    pub(super) fn lexer(&self, policy: &Policy) -> Option<Lexer> {
        let looked_for = self.dictionaries.iter().filter(|(rule, _)| policy.looks_for(*rule));
        let dictionaries =
            looked_for.map(|(rule, dictionary)| (*rule, policy.acts_on(*rule), dictionary.clone()));
        Lexer::new(dictionaries, policy.reach.most_raw)
    }

    pub(super) fn found(&self, policy: &Policy, rule: RuleId, span: Range<usize>, identity: usize) -> Found {
        let info = self.info(rule);
        Found {
            rule,
            rule_id: info.id.clone(),
            kind: info.kind.clone(),
            action: policy.action(rule),
            would: policy.would(rule),
            direction: policy.direction(),
            span,
            identity,
            open: false,
            decoded: Escapes::NONE,
        }
    }
}

/// Up to eight units as one number.
pub(super) fn packed(units: &[u8]) -> u64 {
    units.iter().fold(0, |packed, unit| packed << 8 | u64::from(*unit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::tests::BUILTIN;

    #[test]
    fn builtin_rules_do_what_their_examples_say() {
        let rules = &BUILTIN;
        let errors: Vec<String> =
            rules.check(&Rules::builtin_specs()).iter().map(ToString::to_string).collect();
        assert!(errors.is_empty(), "{}", errors.join("\n"));
        let long = rules.infos().filter(|(_, rule)| rule.max_hold > 320).map(|(_, rule)| rule.id.to_string());
        assert_eq!(long.collect::<Vec<_>>(), [""; 0]);
    }
}
