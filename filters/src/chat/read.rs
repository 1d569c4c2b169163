//! Reading a request body: one walk, in the order the fields come.

mod content;
mod conversation;
mod scalars;
mod team;
mod tools;

pub(super) use team::team;

use super::Api;
use super::call::{Call, Form, Media, ReadBounds, Role, Spans, Text};
use crate::json::{Fault, Invalid, Key, Locator, Str, Value, Walk};
use crate::verdict::{Code, Rejection};

/// Longest model name and session id that are read.
const LONGEST_NAME: usize = 256;

/// Most answers to one request that are asked for (OpenAI's own bound).
const MOST_CHOICES: u64 = 128;

pub(super) fn read(api: Api, body: &[u8], bounds: ReadBounds) -> Result<Call, Rejection> {
    let depth = bounds.max_depth.min(ReadBounds::DEEPEST);
    let call = Walk::new(body, depth).map_err(Fail::from).and_then(|walk| {
        let mut reader = Reader {
            api,
            walk,
            max_texts: bounds.max_texts,
            texts: Vec::new(),
            ids: Vec::new(),
            media: Media::default(),
            stateful: false,
        };
        reader.body()
    });
    call.map_err(|fail| fail.into_rejection(body, depth))
}

/// Why a body is refused. The path is found afterwards, from the offset.
enum Fail {
    Json(Invalid),
    /// A field that is not what it should be; `at` is where its value, or the key, begins.
    Field {
        at: usize,
        message: String,
    },
    /// A field that should be there.
    Missing {
        name: &'static str,
        message: &'static str,
    },
}

impl From<Invalid> for Fail {
    fn from(invalid: Invalid) -> Self {
        Fail::Json(invalid)
    }
}

impl Fail {
    fn into_rejection(self, body: &[u8], depth: usize) -> Rejection {
        let named = |rejection: Rejection, path: String| {
            if path.is_empty() { rejection } else { rejection.with_param(path) }
        };
        match self {
            Fail::Json(Invalid { offset, fault }) => {
                let path = Locator::new(body, depth).path(offset);
                let place = if path.is_empty() { String::new() } else { format!(" (in `{path}`)") };
                let message = format!("The request body is not valid JSON at byte {offset}{place}: {fault}.");
                named(Rejection::new(Code::InvalidJson, message), path)
            }
            Fail::Field { at, message } => {
                let path = Locator::new(body, depth).path(at);
                let message = if path.is_empty() {
                    format!("The body {message}")
                } else {
                    format!("`{path}` {message}")
                };
                named(Rejection::new(Code::InvalidRequest, message), path)
            }
            Fail::Missing { name, message } => {
                Rejection::new(Code::InvalidRequest, format!("`{name}` is missing: {message}"))
                    .with_param(name)
            }
        }
    }
}

/// Which keys of one object were seen, of a list of at most 64: a second time is refused, because which of the two an upstream
/// would take is its own choice.
#[derive(Default)]
struct Seen(u64);

impl Seen {
    /// The key as it stands in `names`, if it does. A key that only differs in case is refused: some servers (Go's
    /// `encoding/json`) take `Messages` for `messages`, and would read what nobody here has.
    fn known(&mut self, names: &'static [&'static str], key: Key<'_>) -> Result<Option<&'static str>, Fail> {
        let found = self.listed(names, key)?;
        if found.is_none()
            && let Some(name) = names.iter().find(|name| is_case_of(&key.decode(), name))
        {
            let message = format!("differs from `{name}` in case only: write `{name}`, or leave it out.");
            return Err(Fail::Field { at: key.span().start, message });
        }
        Ok(found)
    }

    /// The same for objects in which other keys matter too, or do not matter.
    fn listed(&mut self, names: &'static [&'static str], key: Key<'_>) -> Result<Option<&'static str>, Fail> {
        debug_assert!(names.len() <= 64);
        let Some(index) = names.iter().position(|name| key.is(name)) else { return Ok(None) };
        let bit = 1_u64 << index;
        if self.0 & bit != 0 {
            return Err(Invalid { offset: key.span().start, fault: Fault::DuplicateKey }.into());
        }
        self.0 |= bit;
        Ok(Some(names[index]))
    }
}

/// Whether case folding makes a key this name. Besides ASCII's letters, U+017F folds to `s` and U+212A to `k`.
fn is_case_of(key: &str, name: &str) -> bool {
    if key.is_ascii() {
        return key.eq_ignore_ascii_case(name);
    }
    let folded = |character: char| match character {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        other => other.to_ascii_lowercase(),
    };
    key.chars().map(folded).eq(name.chars())
}

/// The walk, and what it has gathered.
struct Reader<'a> {
    api: Api,
    walk: Walk<'a>,
    max_texts: usize,
    texts: Vec<Text>,
    ids: Vec<std::ops::Range<usize>>,
    media: Media,
    stateful: bool,
}

/// Fields of a body that are read; all else passes.
const BODY: &[&str] = &[
    "model",
    "messages",
    "stream",
    "stream_options",
    "n",
    "best_of",
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "prompt",
    "suffix",
    "input",
    "instructions",
    "system",
    "documents",
    "prediction",
    "tools",
    "functions",
    "response_format",
    "text",
    "output_format",
    "output_config",
    "previous_response_id",
    "conversation",
    "store",
    "prompt_cache_key",
    "session_id",
    "metadata",
    "user",
    "safety_identifier",
];

/// Scalars of the body on the way to a [`Call`].
#[derive(Default)]
struct Fields {
    model: Option<String>,
    stream: bool,
    usage_asked: bool,
    choices: Option<u64>,
    best_of: Option<u64>,
    max_output: Option<u64>,
    tools: bool,
    structured: bool,
    store: Option<bool>,
    cache_key: Option<String>,
    session: Option<String>,
    spans: Spans,
    asked: bool,
}

impl<'a> Reader<'a> {
    fn body(&mut self) -> Result<Call, Fail> {
        let at = self.walk.value_start();
        match self.walk.value()? {
            Value::Object => {}
            other => return Err(wrong(at, "must be a JSON object, for example {\"model\": …}", &other)),
        }
        let mut fields = Fields::default();
        fields.spans.first_member = self.walk.at();
        let mut seen = Seen::default();
        while let Some(key) = self.walk.key()? {
            match seen.known(BODY, key)? {
                Some(name) => self.field(name, &mut fields)?,
                None => {
                    self.walk.skip()?;
                }
            }
        }
        self.walk.end()?;
        self.call(fields)
    }

    /// One known field of the body; those of other surfaces pass like unknown ones.
    fn field(&mut self, name: &'static str, fields: &mut Fields) -> Result<(), Fail> {
        use Api::{Chat, Completions, CountTokens, Embeddings, Messages, Responses};
        match (name, self.api) {
            ("model", _) => self.model(fields)?,
            ("stream", _) => fields.stream = self.boolean("must be true or false")?.unwrap_or(false),
            ("stream_options", Chat | Completions) => self.stream_options(fields)?,
            ("n", Chat | Completions) => fields.choices = self.choices()?,
            ("best_of", Completions) => fields.best_of = self.choices()?,
            ("max_tokens", Chat | Completions | Messages)
            | ("max_completion_tokens", Chat)
            | ("max_output_tokens", Responses) => {
                let limit = self.whole(0..=u64::MAX, "must be a whole number of tokens, 0 or more")?;
                fields.max_output = fields.max_output.max(limit);
            }
            ("messages", Chat | Messages | CountTokens | Embeddings) => {
                fields.asked = true;
                self.messages()?;
            }
            ("prompt", Completions) | ("input", Embeddings) => {
                fields.asked = true;
                self.prompt()?;
            }
            ("suffix", Completions) => self.prompt()?,
            ("input", Responses) => self.input()?,
            ("prompt", Responses) => self.stored_prompt()?,
            ("instructions", Responses) => self.content(Role::System)?,
            ("system", Messages | CountTokens) => self.system()?,
            ("documents", Chat) => self.content(Role::System)?,
            ("prediction", Chat) => self.content(Role::Assistant)?,
            ("tools", Chat | Responses | Messages | CountTokens) | ("functions", Chat) => {
                fields.tools |= self.tools()?;
            }
            ("response_format", _)
            | ("text", Responses)
            | ("output_format" | "output_config", Messages | CountTokens) => {
                let start = self.walk.value_start();
                self.schema()?;
                fields.structured |= asks_for_json(&self.walk.text()[start..self.walk.at()]);
            }
            ("previous_response_id", Responses) => {
                self.stateful |= self.string("must be the id of a response, or null")?.is_some();
            }
            ("conversation", Responses) => {
                if let Some(id) = self.conversation()? {
                    self.stateful = true;
                    fields.session.get_or_insert(id);
                }
            }
            ("store", Chat | Responses) => fields.store = self.boolean("must be true or false")?,
            ("prompt_cache_key" | "session_id", _) => {
                let start = self.walk.value_start();
                if let Some(key) = self.name("must be a string")? {
                    fields.cache_key.get_or_insert(key);
                }
                self.id(start)?;
            }
            ("user" | "safety_identifier", _) => {
                let value = self.walk.value()?;
                self.ids_of(value)?;
            }
            ("metadata", _) => {
                if let Some(session) = self.metadata()? {
                    fields.session.get_or_insert(session);
                }
            }
            _ => {
                self.walk.skip()?;
            }
        }
        Ok(())
    }

    fn call(&mut self, fields: Fields) -> Result<Call, Fail> {
        let Some(model) = fields.model else {
            let message = "add the name of a model, for example \"model\": \"gpt-4o-mini\". GET /v1/models lists yours.";
            return Err(Fail::Missing { name: "model", message });
        };
        if !fields.asked {
            let missing = match self.api {
                Api::Chat | Api::Messages | Api::CountTokens => Some((
                    "messages",
                    "add an array of messages, for example \"messages\": [{\"role\": \"user\", \"content\": \"Hello\"}].",
                )),
                Api::Embeddings => Some(("input", "add the text to embed, a string or an array of strings.")),
                // A prompt may be embeddings, an input a stored prompt: the upstream knows.
                Api::Completions | Api::Responses => None,
            };
            if let Some((name, message)) = missing {
                return Err(Fail::Missing { name, message });
            }
        }
        let choices = fields.choices.unwrap_or(1);
        let generated = choices.max(fields.best_of.unwrap_or(1));
        Ok(Call {
            api: self.api,
            model,
            stream: fields.stream && self.api.streams(),
            usage_asked: fields.usage_asked,
            choices: u32::try_from(choices).unwrap_or(u32::MAX),
            max_output: fields.max_output,
            tools: fields.tools,
            stateful: self.stateful,
            store: fields.store,
            session: fields.cache_key.or(fields.session),
            texts: std::mem::take(&mut self.texts),
            ids: std::mem::take(&mut self.ids),
            structured: fields.structured,
            spans: fields.spans,
            generated: u32::try_from(generated).unwrap_or(u32::MAX),
            media: self.media,
            team: false,
        })
    }

    /// Notes a text to be scanned. What it is part of may still change its role.
    fn text(&mut self, text: Str<'a>, role: Role, form: Form) -> Result<(), Fail> {
        if !text.raw().is_empty() {
            self.push(Text {
                span: text.span(),
                role,
                form,
                rewrite: true,
                current: matches!(role, Role::Input),
                escaped: text.is_escaped(),
            })?;
        }
        Ok(())
    }

    /// Notes a whole value, whose strings, keys and numbers are texts.
    fn json(&mut self, role: Role) -> Result<(), Fail> {
        let span = self.walk.skip()?;
        // Nothing hides in `{}`, `true` or a short number.
        if span.len() > 6 {
            let current = matches!(role, Role::Input);
            self.push(Text { span, role, form: Form::Json, rewrite: true, current, escaped: false })?;
        }
        Ok(())
    }

    fn push(&mut self, text: Text) -> Result<(), Fail> {
        if self.texts.len() >= self.max_texts {
            let message = format!(
                "holds text number {}, more than one request may have: split it.",
                self.max_texts + 1
            );
            return Err(Fail::Field { at: text.span.start, message });
        }
        self.texts.push(text);
        Ok(())
    }
}

/// Whether an answer format is one of JSON: `json_object` or `json_schema`, wherever the surface writes the word.
fn asks_for_json(format: &str) -> bool {
    let format = format.as_bytes();
    [&b"\"json_object\""[..], b"\"json_schema\""]
        .iter()
        .any(|word| memchr::memmem::find(format, word).is_some())
}

/// `expected` begins with `must be`.
fn wrong(at: usize, expected: &str, found: &Value<'_>) -> Fail {
    Fail::Field { at, message: format!("{expected}; it is {}.", found.noun()) }
}

#[cfg(test)]
mod tests;
