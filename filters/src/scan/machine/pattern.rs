//! Rules with a pattern: an anchored automaton of its own, stepped a unit at a time.

use regex_automata::dfa::{Automaton as _, StartKind, dense};
use regex_automata::util::primitives::StateID;
use regex_automata::util::{start, syntax};
use regex_automata::{Anchored, MatchKind};

use super::{Step, Text};
use crate::scan::check::{iban, luhn, random};
use crate::scan::rules::{Context, RuleId, Rules};
use crate::scan::spec::Validator;
use crate::scan::trigger::{self, Set};
use crate::scan::units::is_word;

/// Bytes that one pattern's automaton may take.
const MAX_AUTOMATON: usize = 1 << 20;

/// A compiled pattern.
#[derive(Debug)]
pub(in crate::scan) struct Automaton {
    dfa: dense::DFA<Vec<u32>>,
    /// Shortest and longest match, in units.
    min: usize,
    pub(in crate::scan) max: usize,
    /// The sets of its first units.
    pub(in crate::scan) first: Vec<Set>,
}

/// Compiles a pattern over ASCII; says what to change if it cannot be used.
pub(in crate::scan) fn compile(pattern: &str, ignore_case: bool) -> Result<Automaton, String> {
    if !pattern.is_ascii() {
        return Err("the pattern has characters outside ASCII, which it would never match: write `terms` for such words".into());
    }
    let syntax = syntax::Config::new().unicode(false).utf8(false).case_insensitive(ignore_case);
    let hir = syntax::parse_with(pattern, &syntax).map_err(|e| format!("the pattern does not parse: {e}"))?;
    let Some(max) = hir.properties().maximum_len() else {
        return Err("the pattern has no longest match: write counted repeats ({1,64}) for * and +".into());
    };
    let Some(min @ 1..) = hir.properties().minimum_len() else {
        return Err("the pattern matches nothing at all: make it require a character".into());
    };
    let dfa = dense::Builder::new()
        .configure(
            dense::Config::new()
                .match_kind(MatchKind::LeftmostFirst)
                .start_kind(StartKind::Anchored)
                .minimize(false)
                .dfa_size_limit(Some(MAX_AUTOMATON))
                .determinize_size_limit(Some(4 * MAX_AUTOMATON)),
        )
        .syntax(syntax)
        .build(pattern)
        .map_err(|e| format!("the pattern is too large ({e}): use shorter counts, or `starts` and `body`"))?;
    let first = first_sets(&dfa, min.min(trigger::LANES - 1));
    Ok(Automaton { dfa, min, max, first })
}

/// Which units can stand first, second, …: all transitions that are alive at that depth.
fn first_sets(dfa: &dense::DFA<Vec<u32>>, depth: usize) -> Vec<Set> {
    let starts = [b'a', b' ', b'\n'].map(|before| begin(dfa, Some(before)));
    let mut states: Vec<StateID> = starts.into_iter().flatten().collect();
    let mut sets = Vec::new();
    for _ in 0..depth {
        let mut set = [false; 256];
        let mut next = Vec::new();
        for state in &states {
            for (unit, inside) in set.iter_mut().enumerate() {
                let to = dfa.next_state(*state, unit as u8);
                if !dfa.is_dead_state(to) && !dfa.is_quit_state(to) {
                    *inside = true;
                    next.push(to);
                }
            }
        }
        next.sort_unstable();
        next.dedup();
        states = next;
        sets.push(set);
    }
    sets
}

fn begin(dfa: &dense::DFA<Vec<u32>>, before: Option<u8>) -> Option<StateID> {
    dfa.start_state(&start::Config::new().anchored(Anchored::Yes).look_behind(before)).ok()
}

/// A candidate of a pattern.
#[derive(Debug, Clone)]
pub(in crate::scan) struct Pattern {
    automaton: u16,
    state: StateID,
    units: u16,
}

impl Pattern {
    pub(in crate::scan) fn new(automaton: u16, before: Option<u8>, rules: &Rules) -> Option<Pattern> {
        let state = begin(&rules.automata[usize::from(automaton)].dfa, before)?;
        Some(Pattern { automaton, state, units: 0 })
    }

    pub(super) fn feed(&mut self, unit: u8, rules: &Rules) -> Step {
        let automaton = &rules.automata[usize::from(self.automaton)];
        self.state = automaton.dfa.next_state(self.state, unit);
        self.units += 1;
        // Matches are reported one unit late: what stands to the right can matter.
        if automaton.dfa.is_match_state(self.state) {
            return Step::MarkBefore;
        }
        if automaton.dfa.is_dead_state(self.state)
            || automaton.dfa.is_quit_state(self.state)
            || usize::from(self.units) > automaton.max
        {
            return Step::Ended;
        }
        Step::More
    }

    /// Whether an answer that is cut short here keeps what was read: half of the shortest match, if not a whole word.
    pub(super) fn is_past_trigger(&self, rules: &Rules) -> bool {
        let half = rules.automata[usize::from(self.automaton)].min / 2;
        usize::from(self.units) >= half.clamp(4, 16)
    }

    /// Whether the text is a match up to its end.
    pub(in crate::scan) fn ends_here(&self, rules: &Rules) -> bool {
        let dfa = &rules.automata[usize::from(self.automaton)].dfa;
        dfa.is_match_state(dfa.next_eoi_state(self.state))
    }

    pub(super) fn judge(&self, rule: RuleId, text: Text<'_>, rules: &Rules) -> bool {
        let edge = |inside: Option<&u8>, outside: Option<u8>| {
            !(inside.is_some_and(|unit| is_word(*unit)) && outside.is_some_and(is_word))
        };
        let digits = || text.units.iter().copied().filter(u8::is_ascii_digit).collect::<Vec<u8>>();
        let solid = || text.units.iter().copied().filter(u8::is_ascii_alphanumeric).collect::<Vec<u8>>();
        let valid = match rules.validator(rule) {
            None => true,
            Some(Validator::Luhn) => luhn(&digits()),
            Some(Validator::Iban) => iban::iban(&solid()),
            Some(Validator::Entropy) => random::key(text.units),
        };
        edge(text.units.first(), text.before) && edge(text.units.last(), text.next) && valid
    }
}

/// Whether a rule that asks for words around it is given them.
pub(in crate::scan) fn in_context(context: Context, required: bool) -> bool {
    match context {
        Context::For => true,
        Context::Silent => !required,
        Context::Against | Context::Named => false,
    }
}
