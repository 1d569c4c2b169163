//! Lanes: one per text that a model is writing. Each has its scanner, and what one holds never leaves in another.

use super::arguments::Arguments;
use super::core::{Halt, pass};
use super::kept::Spelling;
use super::{Guard, Options};
use crate::chat::Api;
use crate::scan::{End, Masker, Scanner};

/// Which text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    /// Choice, output item or content block.
    pub(super) index: u32,
    /// Tool call, or part of an output item.
    pub(super) sub: u32,
    pub(super) field: Field,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Content,
    ReasoningContent,
    Reasoning,
    Refusal,
    /// Of completions, and of Anthropic's text blocks.
    Text,
    /// Signed: never altered. A finding that would be masked ends the answer.
    Thinking,
    ToolArguments,
    FunctionArguments,
    /// Of a tool, or of a legacy function.
    Name,
    /// A field that the surface keeps a table of.
    Other(u16),
}

/// How a lane's text is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Inside {
    Text,
    /// JSON inside the string.
    Json,
    /// Text that must not change.
    Signed,
}

impl Inside {
    fn spelling(self) -> Spelling {
        match self {
            Inside::Text | Inside::Signed => Spelling::Plain,
            Inside::Json => Spelling::Json,
        }
    }
}

/// What became of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Passed {
    /// It leaves as it came.
    Same,
    /// [`Lanes::out`] leaves in its place.
    Changed,
}

/// The open lanes of one answer, and the memory of its request.
pub(super) struct Lanes {
    guard: Option<Guard>,
    api: Api,
    structured: bool,
    masker: Masker,
    open: Vec<Lane>,
    max: usize,
    /// Where the last key was found: deltas of one lane come in a row.
    last: usize,
    /// What may leave of the text given last. Valid until the next one.
    pub(super) out: String,
    /// How that text is spelled, `out` as well.
    pub(super) spelling: Spelling,
    /// Bytes of held text thrown away.
    pub(super) discarded: usize,
    /// Bytes of text that were read.
    pub(super) scanned: u64,
}

struct Lane {
    key: Key,
    reader: Reader,
}

enum Reader {
    Text(Scanner),
    Json(Box<Arguments>),
    /// The text that the scanner still owes: anything else is an alteration.
    Signed {
        scanner: Scanner,
        owed: String,
    },
}

impl Lanes {
    pub(super) fn new(guard: Option<Guard>, options: &Options, masker: Masker) -> Lanes {
        Lanes {
            guard: guard.filter(|guard| !guard.policy.is_idle() || masker.restores()),
            api: options.api,
            structured: options.structured,
            masker,
            open: Vec::new(),
            max: options.max_lanes,
            last: 0,
            out: String::new(),
            spelling: Spelling::Plain,
            discarded: 0,
            scanned: 0,
        }
    }

    /// Whether anything is scanned at all.
    pub(super) fn guarded(&self) -> bool {
        self.guard.is_some()
    }

    /// Whether what is read may also be changed or held, not only recorded.
    pub(super) fn acts(&self) -> bool {
        self.guard.as_ref().is_some_and(|guard| guard.policy.acts() || self.masker.restores())
    }

    pub(super) fn masker(&self) -> &Masker {
        &self.masker
    }

    /// While quiet, findings are not counted: the texts given now were given before.
    pub(super) fn set_quiet(&mut self, quiet: bool) {
        self.masker.set_quiet(quiet);
    }

    pub(super) fn held(&self) -> usize {
        self.open.iter().map(|lane| lane.reader.held()).sum()
    }

    /// Takes the next text of a lane, which is opened at its first one.
    pub(super) fn push(&mut self, key: Key, inside: Inside, text: &str) -> Result<Passed, Halt> {
        self.out.clear();
        let inside = self.read_as(inside);
        self.spelling = inside.spelling();
        let Some(guard) = &self.guard else { return Ok(Passed::Same) };
        self.scanned += text.len() as u64;
        let lane = match Self::find(&self.open, &mut self.last, key) {
            Some(at) => &mut self.open[at],
            None if self.open.len() >= self.max => return Err(Halt::Guard("too many lanes in one answer")),
            None => {
                self.last = self.open.len();
                self.open.push(Lane { key, reader: Reader::new(guard, key, inside, self.api) });
                &mut self.open[self.last]
            }
        };
        self.spelling = lane.reader.spelling();
        lane.reader.push(text, &mut self.masker, &mut self.out)?;
        if self.out == text {
            return Ok(Passed::Same);
        }
        Ok(Passed::Changed)
    }

    /// Takes the last text of a lane.
    pub(super) fn push_last(
        &mut self,
        key: Key,
        inside: Inside,
        text: &str,
        end: End,
    ) -> Result<Passed, Halt> {
        self.push(key, inside, text)?;
        if !self.guarded() {
            return Ok(Passed::Same);
        }
        self.close(key, end)?;
        Ok(if self.out == text { Passed::Same } else { Passed::Changed })
    }

    /// Ends a lane: its rest is appended to [`Lanes::out`].
    pub(super) fn close(&mut self, key: Key, end: End) -> Result<(), Halt> {
        let Some(at) = Self::find(&self.open, &mut self.last, key) else { return Ok(()) };
        let mut lane = self.open.swap_remove(at);
        self.spelling = lane.reader.spelling();
        lane.reader.finish(end, &mut self.masker, &mut self.out)
    }

    /// A text that is to be JSON is read as JSON while it is; what is none is still read as text.
    fn read_as(&self, inside: Inside) -> Inside {
        if self.structured && inside == Inside::Text { Inside::Json } else { inside }
    }

    /// A lane that is still open, of those for which `wanted` holds.
    pub(super) fn any_open(&self, wanted: impl Fn(Key) -> bool) -> Option<Key> {
        self.open
            .iter()
            .map(|lane| lane.key)
            .filter(|key| wanted(*key))
            .min_by_key(|key| (key.index, key.sub))
    }

    /// Whether a lane holds something, of those for which `wanted` holds: then whole and cut short may differ.
    pub(super) fn holds(&self, wanted: impl Fn(Key) -> bool) -> bool {
        self.open.iter().any(|lane| wanted(lane.key) && lane.reader.held() > 0)
    }

    /// Whether a lane has a whole JSON value.
    pub(super) fn is_over(&self, key: Key) -> bool {
        let over = |lane: &Lane| matches!(&lane.reader, Reader::Json(arguments) if arguments.is_over());
        self.open.iter().any(|lane| lane.key == key && over(lane))
    }

    /// A whole text at once.
    pub(super) fn once(
        &mut self,
        location: impl FnOnce() -> String,
        inside: Inside,
        end: End,
        text: &str,
    ) -> Result<Passed, Halt> {
        self.out.clear();
        let inside = self.read_as(inside);
        self.spelling = inside.spelling();
        let Some(guard) = &self.guard else { return Ok(Passed::Same) };
        self.scanned += text.len() as u64;
        if end == End::Whole && inside == Inside::Text && !self.masker.restores() {
            let mut found = Vec::new();
            guard.rules.scan(&guard.policy, text, &mut found);
            if found.is_empty() {
                return Ok(Passed::Same);
            }
        }
        let location = location();
        let scanner = || {
            let scanner = Scanner::new(&guard.rules, &guard.policy).at(&*location);
            if inside == Inside::Signed { scanner.keeping_stand_ins() } else { scanner }
        };
        match inside {
            Inside::Text | Inside::Signed => {
                let mut scanner = scanner();
                let flow = scanner.push(text, &mut self.masker, &mut self.out);
                pass(&scanner, &flow)?;
                let flow = scanner.finish(&mut self.masker, end, &mut self.out);
                pass(&scanner, &flow)?;
            }
            Inside::Json => {
                let mut arguments = Arguments::new(scanner);
                arguments.push(text, &mut self.masker, &mut self.out)?;
                arguments.finish(end, &mut self.masker, &mut self.out)?;
            }
        }
        Ok(if self.out == text { Passed::Same } else { Passed::Changed })
    }

    /// Throws away everything held: the answer broke off.
    pub(super) fn discard(&mut self) {
        for lane in &mut self.open {
            self.discarded += lane.reader.discard();
        }
        self.open.clear();
    }

    fn find(open: &[Lane], last: &mut usize, key: Key) -> Option<usize> {
        if open.get(*last).is_some_and(|lane| lane.key == key) {
            return Some(*last);
        }
        *last = open.iter().position(|lane| lane.key == key)?;
        Some(*last)
    }
}

impl Reader {
    fn new(guard: &Guard, key: Key, inside: Inside, api: Api) -> Reader {
        let location = key.location(api);
        let scanner = || Scanner::new(&guard.rules, &guard.policy).at(&*location);
        match (key.field, inside) {
            (Field::Thinking, _) | (_, Inside::Signed) => {
                Reader::Signed { scanner: scanner().keeping_stand_ins(), owed: String::new() }
            }
            (_, Inside::Text) => Reader::Text(scanner()),
            (_, Inside::Json) => Reader::Json(Box::new(Arguments::new(scanner))),
        }
    }

    fn push(&mut self, text: &str, masker: &mut Masker, out: &mut String) -> Result<(), Halt> {
        match self {
            Reader::Text(scanner) => {
                let flow = scanner.push(text, masker, out);
                pass(scanner, &flow)
            }
            Reader::Json(arguments) => arguments.push(text, masker, out),
            Reader::Signed { scanner, owed } => {
                owed.push_str(text);
                let start = out.len();
                let flow = scanner.push(text, masker, out);
                unaltered(owed, start, out)?;
                pass(scanner, &flow)
            }
        }
    }

    fn finish(&mut self, end: End, masker: &mut Masker, out: &mut String) -> Result<(), Halt> {
        match self {
            Reader::Text(scanner) => {
                let flow = scanner.finish(masker, end, out);
                pass(scanner, &flow)
            }
            Reader::Json(arguments) => arguments.finish(end, masker, out),
            Reader::Signed { scanner, owed } => {
                let start = out.len();
                let flow = scanner.finish(masker, end, out);
                unaltered(owed, start, out)?;
                pass(scanner, &flow)
            }
        }
    }

    fn spelling(&self) -> Spelling {
        match self {
            Reader::Text(_) | Reader::Signed { .. } => Spelling::Plain,
            Reader::Json(_) => Spelling::Json,
        }
    }

    fn discard(&mut self) -> usize {
        match self {
            Reader::Text(scanner) | Reader::Signed { scanner, .. } => scanner.discard(),
            Reader::Json(arguments) => arguments.discard(),
        }
    }

    fn held(&self) -> usize {
        match self {
            Reader::Text(scanner) | Reader::Signed { scanner, .. } => scanner.held(),
            Reader::Json(arguments) => arguments.held(),
        }
    }
}

/// Checks that what was appended to `out` is the beginning of what is owed, and strikes it off.
fn unaltered(owed: &mut String, start: usize, out: &mut String) -> Result<(), Halt> {
    if owed.starts_with(&out[start..]) {
        owed.drain(..out.len() - start);
        return Ok(());
    }
    // Nothing of it leaves: where the mask begins is not known here.
    out.truncate(start);
    Err(Halt::Blocked)
}

impl Key {
    /// The place that findings are noted under: where the text stands in the whole answer.
    pub(super) fn location(self, api: Api) -> String {
        let Key { index, sub, field } = self;
        match (api, field) {
            (Api::Completions, Field::Other(_)) => format!("choices[{index}]"),
            (Api::Completions, _) => format!("choices[{index}].text"),
            (Api::Messages, Field::ToolArguments) => format!("content[{index}].input"),
            (Api::Messages, Field::Thinking) => format!("content[{index}].thinking"),
            (Api::Messages, _) => format!("content[{index}].text"),
            (Api::Responses, Field::ToolArguments) => format!("output[{index}].arguments"),
            (Api::Responses, Field::Other(_)) => format!("output[{index}]"),
            (Api::Responses, _) => format!("output[{index}].content[{sub}].text"),
            (_, Field::ReasoningContent) => format!("choices[{index}].message.reasoning_content"),
            (_, Field::Reasoning) => format!("choices[{index}].message.reasoning"),
            (_, Field::Refusal) => format!("choices[{index}].message.refusal"),
            (_, Field::ToolArguments) => {
                format!("choices[{index}].message.tool_calls[{sub}].function.arguments")
            }
            (_, Field::Name) => format!("choices[{index}].message.tool_calls[{sub}].function.name"),
            (_, Field::FunctionArguments) => format!("choices[{index}].message.function_call.arguments"),
            (_, Field::Other(_)) => format!("choices[{index}].message"),
            _ => format!("choices[{index}].message.content"),
        }
    }
}
