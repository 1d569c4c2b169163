//! From rule files to automata.

use std::collections::HashSet;

use super::{
    Compiled, Detector, KeyForm, LeadForm, Opens, RuleError, RuleId, RuleInfo, Rules, Start, Starts, Words,
};
use crate::scan::email::{self, TopLevel};
use crate::scan::injection::{Injection, InjectionSpec};
use crate::scan::machine::{self, MAX_IPV6, MAX_LED};
use crate::scan::mask::shape::Form;
use crate::scan::number::MAX_NUMBER;
use crate::scan::spec::{Lead, Validator};
use crate::scan::terms::{Dictionary, TermFold};
use crate::scan::trigger::{self, Bucket, LANES, Set, Triggers};
use crate::scan::units::{Fold, LETTER, is_word};
use crate::scan::{RuleSpec, check};

/// Rules that fit in an id.
const MAX_RULES: usize = 4096;
/// Prefixes and names of all rules.
const MAX_STARTS: usize = 16_384;

pub(super) fn compile(specs: &[RuleSpec], signals: &[InjectionSpec]) -> Result<Rules, Vec<RuleError>> {
    let fold = Fold::new();
    let mut errors = Vec::new();
    let injection = Injection::compile(signals, &fold, &mut errors);
    let mut rules = Rules {
        infos: Vec::new(),
        specs: Vec::new(),
        detectors: [None; Detector::COUNT],
        triggers: Triggers::new(),
        fold,
        top_level: TopLevel::new(),
        keys: Vec::new(),
        starts: Starts::default(),
        automata: Vec::new(),
        patterns: Vec::new(),
        injection,
        dictionaries: Vec::new(),
        term_fold: None,
    };
    let mut ids = HashSet::new();
    for (i, spec) in specs.iter().enumerate() {
        let result = if i >= MAX_RULES {
            Err(format!("there are more than {MAX_RULES} rules: join some of them"))
        } else if !ids.insert(&spec.id) {
            Err("another rule has the same id: rename one".into())
        } else {
            add(&mut rules, RuleId(i as u16), spec)
        };
        if let Err(message) = result {
            errors.push(RuleError { rule: spec.id.clone(), message });
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    add_start_triggers(&mut rules);
    add_detector_triggers(&mut rules);
    add_pattern_triggers(&mut rules);
    Ok(rules)
}

fn add(rules: &mut Rules, rule: RuleId, spec: &RuleSpec) -> Result<(), String> {
    let name = |text: &str| {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
        !text.is_empty() && text.len() <= 64 && text.chars().all(fits)
    };
    if !name(&spec.id) || !name(&spec.kind) {
        return Err("`id` and `kind` are 1 to 64 of a-z, 0-9, _ and -".into());
    }
    let is_key = spec.detector.is_none() && !spec.starts.is_empty();
    if !is_key && (spec.body.is_some() || spec.lead.is_some()) {
        return Err(
            "`body` and `lead` stand beside `starts` alone: remove them, or write the rule as a key".into()
        );
    }
    let is_list = !spec.terms.is_empty() || spec.terms_file.is_some();
    let max_hold = match (spec.detector, &spec.pattern, spec.starts.is_empty(), is_list) {
        (Some(detector), None, _, false) => add_detector(rules, rule, spec, detector)?,
        (None, Some(pattern), true, false) => add_pattern(rules, rule, pattern, spec.ignore_case)?,
        (None, None, false, false) => add_keys(rules, rule, spec)?,
        (None, None, true, true) => add_terms(rules, rule, spec)?,
        _ => {
            return Err(
                "give one of `detector`, `pattern`, `starts` with `body`, `terms`, or `terms_file`".into()
            );
        }
    };
    rules.infos.push(RuleInfo {
        id: spec.id.as_str().into(),
        kind: spec.kind.as_str().into(),
        severity: spec.severity,
        max_hold,
    });
    rules.specs.push(Compiled {
        words: Words::new(&spec.context, &spec.avoid)?,
        validator: spec.validator,
        needs_context: spec.detector.is_none() && !spec.context.is_empty(),
        stand_ins: Form::of(&spec.kind).filter(|form| form.is_nobodys() || spec.detector.is_some()),
    });
    Ok(())
}

fn add_detector(
    rules: &mut Rules,
    rule: RuleId,
    spec: &RuleSpec,
    detector: Detector,
) -> Result<usize, String> {
    if rules.detectors[detector as usize].replace(rule).is_some() {
        return Err("another rule has the same detector: remove one".into());
    }
    let opens = match detector {
        Detector::Jwt => Opens::Jwt,
        Detector::Pem => Opens::Pem,
        Detector::UrlPassword => Opens::Url,
        Detector::Assignment => Opens::Assignment,
        _ => {
            return Ok(match detector {
                Detector::Email => email::MAX_LOCAL + 1 + email::MAX_DOMAIN,
                Detector::Ipv6 => MAX_IPV6 + machine::MAX_IPV6_SUFFIX as usize + 1,
                Detector::Iban => 2 * check::iban::MAX,
                _ => MAX_NUMBER,
            });
        }
    };
    if spec.starts.is_empty() {
        return Err("this detector needs `starts`: the prefixes or names that it looks for".into());
    }
    for start in &spec.starts {
        let mut form = KeyForm::literal(start);
        if opens == Opens::Url && start == machine::ANY_SCHEME {
            form.lead = Some(LeadForm {
                class: Box::new(trigger::set(machine::in_scheme)),
                min: 2,
                max: machine::MAX_SCHEME,
            });
        }
        add_start(rules, rule, form, opens)?;
    }
    Ok(match opens {
        Opens::Jwt => machine::MAX_JWT,
        Opens::Pem => machine::MAX_PEM,
        Opens::Url => machine::MAX_URL,
        _ => usize::from(machine::MAX_VALUE),
    })
}

fn add_keys(rules: &mut Rules, rule: RuleId, spec: &RuleSpec) -> Result<usize, String> {
    let Some(body) = &spec.body else {
        return Err(
            "`starts` needs a `body`: the class and least number of the characters that follow".into()
        );
    };
    let sizes = || "`min` is at least 1 (0 behind a `lead`) and at most `max`".to_owned();
    let bodiless = body.min == 0 && (spec.lead.is_none() || body.max.is_none());
    if bodiless || body.max.is_some_and(|max| max < body.min) {
        return Err(sizes());
    }
    if body.label && body.min < 2 {
        return Err("behind a `label` a value has at least two characters: write `min: 2` or more".into());
    }
    let class = class(&body.class)?;
    let lead = || match &spec.lead {
        Some(lead) if body.label => {
            Err(format!("`lead: {{class: {}}}` stands beside `label`: remove one", lead.class))
        }
        Some(lead) => lead_form(lead).map(Some),
        None => Ok(None),
    };
    let reach = if spec.lead.is_some() { MAX_LED } else { 0 };
    let mut max_hold = 0;
    for start in &spec.starts {
        max_hold = max_hold.max(reach + start.len() + body.max.unwrap_or(body.min) + 1);
        let form = KeyForm {
            prefix: start.as_bytes().to_vec(),
            class: Box::new(class),
            min: body.min,
            max: body.max,
            random: spec.validator == Some(Validator::Entropy),
            label: body.label,
            lead: lead()?,
        };
        add_start(rules, rule, form, Opens::Key)?;
    }
    Ok(max_hold)
}

fn add_start(rules: &mut Rules, rule: RuleId, mut form: KeyForm, opens: Opens) -> Result<(), String> {
    // Anchored, a name is looked for with the prefixes, behind a border: the others blur into many words.
    let anchored = opens == Opens::Assignment && form.prefix.first() == Some(&b'^');
    if anchored {
        form.prefix.remove(0);
    }
    let text = String::from_utf8_lossy(&form.prefix).into_owned();
    if !text.is_ascii() || text.len() < 3 || text.len() > 24 {
        return Err(format!("`{text}` in `starts`: a prefix is 3 to 24 ASCII characters long"));
    }
    if rules.starts.len() == MAX_STARTS {
        return Err(format!("there are more than {MAX_STARTS} prefixes in all: remove some"));
    }
    let name = opens == Opens::Assignment;
    let bucket = match text.len() {
        LANES.. if name && !anchored => Bucket::Name,
        _ if form.lead.is_some() => Bucket::Mark,
        3 => Bucket::Short,
        // Which it is depends on all of them.
        _ => Bucket::PREFIXES[0],
    };
    let shown = bucket.shown().unwrap_or(text.len());
    rules.keys.push(form);
    let start = Start { bucket, key: (rules.keys.len() - 1) as u16, rule, opens };
    rules.starts.add(start, &text.as_bytes()[..shown]);
    Ok(())
}

fn add_start_triggers(rules: &mut Rules) {
    let keys = &rules.keys;
    let prefix = |start: &Start| -> Option<trigger::Prefix> {
        Bucket::PREFIXES.contains(&start.bucket).then_some(())?;
        keys[usize::from(start.key)].prefix.first_chunk().copied()
    };
    let prefixes: Vec<_> = rules.starts.iter().filter_map(prefix).collect();
    let mut buckets = trigger::spread(&prefixes).into_iter();
    for start in rules.starts.iter_mut() {
        let form = &keys[usize::from(start.key)];
        let name = start.opens == Opens::Assignment;
        if Bucket::PREFIXES.contains(&start.bucket) {
            start.bucket = buckets.next().unwrap_or(start.bucket);
        }
        let shown = start.bucket.shown().unwrap_or(form.prefix.len());
        let mut sets = trigger::literal(&form.prefix[..shown], name);
        match &form.lead {
            Some(lead) => sets.insert(0, *lead.class),
            None if start.bucket == Bucket::Name => {}
            None => sets.insert(0, trigger::set(|unit| !unit.is_ascii_alphanumeric() && unit != LETTER)),
        }
        rules.triggers.add(start.bucket, &sets);
    }
}

/// The set of a class such as `A-Za-z0-9_-`.
fn class(class: &str) -> Result<Set, String> {
    let bad = || format!("`class: {class}`: write ASCII characters and ranges, as in `A-Za-z0-9_-`");
    let text = class.as_bytes();
    if text.is_empty() || !class.is_ascii() {
        return Err(bad());
    }
    let mut set = [false; 256];
    let mut at = 0;
    while at < text.len() {
        let (from, to, used) = match text[at..] {
            [from, b'-', to, ..] => (from, to, 3),
            [one, ..] => (one, one, 1),
            [] => break,
        };
        if from > to {
            return Err(bad());
        }
        set[usize::from(from)..=usize::from(to)].fill(true);
        at += used;
    }
    Ok(set)
}

fn lead_form(lead: &Lead) -> Result<LeadForm, String> {
    let set = class(&lead.class)?;
    let outside = (0..=255_u8).any(|unit| set[usize::from(unit)] && !machine::in_lead(unit));
    if outside || lead.min == 0 || lead.max < lead.min || lead.max > MAX_LED {
        return Err(format!(
            "`lead: {{class: {}}}`: characters of a lead are letters, digits and . _ % + - ' / ~, from `min` of at least 1 to \
             `max` of at most {MAX_LED}",
            lead.class
        ));
    }
    Ok(LeadForm { class: Box::new(set), min: lead.min, max: lead.max })
}

fn add_pattern(rules: &mut Rules, rule: RuleId, pattern: &str, ignore_case: bool) -> Result<usize, String> {
    let automaton = machine::compile_pattern(pattern, ignore_case)?;
    let max_hold = automaton.max + 1;
    rules.automata.push(automaton);
    rules.patterns.push(rule);
    Ok(max_hold)
}

fn add_terms(rules: &mut Rules, rule: RuleId, spec: &RuleSpec) -> Result<usize, String> {
    if spec.terms.is_empty() {
        return Err("its `terms_file` holds no terms: write one a line".into());
    }
    let dictionary = Dictionary::of(&spec.terms, &rules.fold)?;
    let max_hold = dictionary.longest + 1;
    rules.term_fold.get_or_insert_with(|| TermFold::new(&rules.fold));
    rules.dictionaries.push((rule, dictionary));
    Ok(max_hold)
}

fn add_detector_triggers(rules: &mut Rules) {
    let digit = trigger::set(|unit| unit.is_ascii_digit());
    let no_digit = trigger::set(|unit| !unit.is_ascii_digit());
    let in_number =
        trigger::set(|unit| unit.is_ascii_digit() || matches!(unit, b'-' | b'.' | b' ' | b'/' | b')' | b'('));
    let border = trigger::set(|unit| !is_word(unit));
    let letter = trigger::set(|unit| unit.is_ascii_alphabetic());
    let check = trigger::set(|unit| unit.is_ascii_digit() || matches!(unit, b' ' | b'-'));
    let colon = trigger::set(|unit| unit == b':');
    let hex = trigger::set(|unit| unit.is_ascii_hexdigit() || unit == b':');
    rules.triggers.add(Bucket::Email, &[trigger::set(|unit| unit == b'@')]);
    rules.triggers.add(Bucket::Number, &[no_digit, digit, in_number, in_number, in_number]);
    rules.triggers.add(Bucket::Ipv6, &[hex, colon, hex]);
    rules.triggers.add(Bucket::Iban, &[border, letter, letter, check, check]);
}

fn add_pattern_triggers(rules: &mut Rules) {
    let Some(depth) = rules.automata.iter().map(|automaton| automaton.first.len()).min() else { return };
    for automaton in &rules.automata {
        // A match that begins with a letter or digit begins a word.
        let mark = (0..=255_u8).any(|unit| automaton.first[0][usize::from(unit)] && !is_word(unit));
        let lead = trigger::set(|unit| mark || !is_word(unit));
        let sets: Vec<Set> =
            std::iter::once(lead).chain(automaton.first.iter().take(depth).copied()).collect();
        rules.triggers.add(Bucket::Pattern, &sets);
    }
}
