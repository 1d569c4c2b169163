//! Texts inside a value of any shape: whole items, blocks and messages, as they stand in plain answers and in `done` events.

use std::ops::Range;

use super::core::{Core, Halt, MAX_DEPTH};
use super::lanes::{Inside, Passed};
use crate::json::{self, Invalid, Locator, Str, Value, Walk, is_base64, is_data_url};
use crate::scan::End;

/// Keys whose strings say what something is, or that no eye can read (signatures, encrypted reasoning): not scanned.
const NO_TEXT: [&str; 22] = [
    "call_id",
    "channel",
    "container_id",
    "encrypted_content",
    "encrypted_index",
    "file_id",
    "finish_reason",
    "format",
    "id",
    "item_id",
    "media_type",
    "mime_type",
    "model",
    "obfuscation",
    "object",
    "role",
    "server_label",
    "signature",
    "status",
    "stop_reason",
    "tool_use_id",
    "type",
];

/// Keys that hold a filter's verdict on a text: names of categories and grades, repeated in every chunk of some providers.
pub(super) const VERDICTS: [&str; 3] =
    ["content_filter_result", "content_filter_results", "prompt_filter_results"];

/// Keys that hold a URL or a file, which may be an image. Under any other a model may write what looks like one.
const PAYLOADS: [&str; 9] =
    ["b64_json", "data", "file_data", "file_url", "image_url", "partial_image_b64", "result", "uri", "url"];

/// Most texts of one event or answer.
const MAX_PIECES: usize = 1 << 18;

/// Shortest string that is taken for base64 by its alphabet alone: images, audio, redacted thinking. Keys of a hundred letters are of
/// the same alphabet.
const BASE64: usize = 512;
/// The same of signatures, whose names say what they are.
const SIGNATURE: usize = 64;

/// Members of a chat message whose elements are pieces of thinking, of which some are signed:
/// <https://docs.litellm.ai/docs/reasoning_content>,
/// <https://openrouter.ai/docs/guides/best-practices/reasoning-tokens>.
pub(super) const THINKING: [&str; 2] = ["reasoning_details", "thinking_blocks"];

/// Whether a string under this key is no text.
pub(super) fn is_no_text(key: &str, text: Str<'_>) -> bool {
    let raw = text.raw();
    match key {
        "data" | "result" | "b64_json" | "partial_image_b64" if raw.len() >= BASE64 && is_base64(raw) => true,
        _ if NO_TEXT.binary_search(&key).is_ok() => true,
        _ if is_signature(key) => raw.len() >= SIGNATURE && is_base64(raw),
        _ => PAYLOADS.contains(&key) && is_data_url(raw, "image/"),
    }
}

/// Whether what stands under this key vouches for a text: `thought_signature` of Gemini's is another.
pub(super) fn is_signature(key: &str) -> bool {
    key.ends_with("signature") || key.ends_with("Signature")
}

/// One text, by its place in what was read.
#[derive(Debug)]
pub(super) struct Piece {
    /// Of the literal with its quotes; of the whole value where it is [`Kind::Raw`].
    pub(super) span: Range<usize>,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    /// JSON inside a string: tool arguments.
    Arguments,
    /// JSON as it stands: the input of a tool.
    Raw,
    /// Never altered: a finding that would be masked blocks.
    Signed,
}

/// The texts of a value, in its order.
#[derive(Debug, Default)]
pub(super) struct Texts {
    pub(super) pieces: Vec<Piece>,
    /// Values that tell the tokens of texts. They may leave only with the text they spell: whole, and as it came.
    pub(super) tokens: Vec<Range<usize>>,
    /// Not all are in `pieces` and `tokens`.
    pub(super) too_many: bool,
    pub(super) home: Home,
}

/// What an event is a piece of: there its texts stand in the whole answer.
#[derive(Debug, Clone, Copy, Default)]
pub(super) enum Home {
    #[default]
    Answer,
    /// An item of a response.
    Output(u32),
    /// A content block of a message.
    Content(u32),
    /// A message, all but its blocks.
    Message,
}

/// Names the places of texts, asked for in the order of what they stand in.
pub(super) struct Places<'a> {
    data: &'a str,
    home: Home,
    locator: Option<Locator<'a>>,
}

impl<'a> Places<'a> {
    pub(super) fn new(data: &'a str, home: Home) -> Places<'a> {
        Places { data, home, locator: None }
    }

    fn name(&mut self, piece: &Piece) -> String {
        let locator = self.locator.get_or_insert_with(|| Locator::new(self.data.as_bytes(), MAX_DEPTH));
        let path = locator.path(piece.span.start);
        let (head, rest) = path.split_at(path.find(['.', '[']).unwrap_or(path.len()));
        match (self.home, head) {
            (Home::Output(at), "item") => format!("output[{at}]{rest}"),
            (Home::Content(at), "content_block" | "delta") => format!("content[{at}]{rest}"),
            (Home::Output(_), "response") | (Home::Message, "message" | "delta") => {
                rest.trim_start_matches('.').to_owned()
            }
            _ => path,
        }
    }
}

impl Texts {
    pub(super) fn clear(&mut self) {
        self.pieces.clear();
        self.tokens.clear();
        (self.too_many, self.home) = (false, Home::Answer);
    }

    /// Fails where a guard would have to read more texts than were collected.
    pub(super) fn check(&self, core: &Core) -> Result<(), Halt> {
        if core.lanes.guarded() && self.too_many {
            return Err(Halt::Guard("too many texts in one answer"));
        }
        Ok(())
    }

    /// Collects from the value of the member `key`, which `walk` has just read; it began at `begins`.
    pub(super) fn collect_member(
        &mut self,
        walk: &mut Walk<'_>,
        key: &str,
        value: Value<'_>,
        begins: usize,
    ) -> Result<(), Invalid> {
        match (key, value) {
            ("logprobs" | "token_ids", Value::Array | Value::Object) => {
                walk.finish(&value)?;
                self.too_many |= self.tokens.len() >= MAX_PIECES;
                if !self.too_many {
                    self.tokens.push(begins..walk.at());
                }
            }
            ("input" | "arguments", Value::Array | Value::Object) => {
                walk.finish(&value)?;
                self.add(begins..walk.at(), Kind::Raw);
            }
            (_, Value::String(text)) if is_no_text(key, text) => {}
            (_, Value::Array | Value::Object) if VERDICTS.contains(&key) => walk.finish(&value)?,
            (_, Value::Array) if THINKING.contains(&key) => self.collect_thinking(walk)?,
            (_, Value::String(text)) => {
                let kind = match key {
                    "arguments" => Kind::Arguments,
                    "thinking" => Kind::Signed,
                    _ => Kind::Text,
                };
                self.add(text.span(), kind);
            }
            _ => self.collect(walk, value)?,
        }
        Ok(())
    }

    /// Collects from a value that `walk` has just read and that stands in an array or alone.
    pub(super) fn collect(&mut self, walk: &mut Walk<'_>, value: Value<'_>) -> Result<(), Invalid> {
        match value {
            Value::Object => {
                while let Some(key) = walk.key()? {
                    let begins = walk.value_start();
                    let value = walk.value()?;
                    self.collect_member(walk, &key.decode(), value, begins)?;
                }
            }
            Value::Array => {
                while walk.element()? {
                    let value = walk.value()?;
                    self.collect(walk, value)?;
                }
            }
            Value::String(text) => self.add(text.span(), Kind::Text),
            Value::Number(_) | Value::Bool(_) | Value::Null => {}
        }
        Ok(())
    }

    /// Collects from the rest of an array of thinking: what is signed must not change.
    fn collect_thinking(&mut self, walk: &mut Walk<'_>) -> Result<(), Invalid> {
        while walk.element()? {
            let (first, mut signed) = (self.pieces.len(), false);
            match walk.value()? {
                Value::Object => {
                    while let Some(key) = walk.key()? {
                        let begins = walk.value_start();
                        let value = walk.value()?;
                        signed |= key.is("signature")
                            && matches!(value, Value::String(text) if !text.raw().is_empty());
                        self.collect_member(walk, &key.decode(), value, begins)?;
                    }
                }
                value => self.collect(walk, value)?,
            }
            for piece in self.pieces[first..].iter_mut().filter(|_| signed) {
                piece.kind = if piece.kind == Kind::Raw { Kind::Raw } else { Kind::Signed };
            }
        }
        Ok(())
    }

    /// Adds a text, unless nothing is in it: `""`, `{}`.
    pub(super) fn add(&mut self, span: Range<usize>, kind: Kind) {
        if span.len() <= 2 {
            return;
        }
        self.too_many |= self.pieces.len() >= MAX_PIECES;
        if !self.too_many {
            self.pieces.push(Piece { span, kind });
        }
    }
}

/// Passes one text; whether it changed. What changes is put into the core's splice.
pub(super) fn pass_piece(
    core: &mut Core,
    places: &mut Places<'_>,
    piece: &Piece,
    end: End,
) -> Result<bool, Halt> {
    let literal = &places.data[piece.span.clone()];
    let location = || places.name(piece);
    let passed = match piece.kind {
        Kind::Raw => core.lanes.once(location, Inside::Json, end, literal)?,
        Kind::Arguments => core.lanes.once(location, Inside::Json, end, &inner(literal))?,
        Kind::Signed => core.lanes.once(location, Inside::Signed, end, &inner(literal))?,
        Kind::Text => core.lanes.once(location, Inside::Text, end, &inner(literal))?,
    };
    if passed == Passed::Same {
        return Ok(false);
    }
    match piece.kind {
        Kind::Signed => {
            core.lanes.out.clear();
            return Err(Halt::Blocked);
        }
        Kind::Raw => core.splice.replace(piece.span.clone(), core.lanes.out.as_bytes()),
        Kind::Text | Kind::Arguments => core.splice.replace_text(piece.span.clone(), &core.lanes.out),
    }
    Ok(true)
}

/// Passes all of them, each whole; whether one changed.
pub(super) fn pass_all(core: &mut Core, data: &str, texts: &Texts) -> Result<bool, Halt> {
    texts.check(core)?;
    let mut places = Places::new(data, texts.home);
    let mut changed = false;
    for piece in &texts.pieces {
        changed |= pass_piece(core, &mut places, piece, End::Whole)?;
    }
    Ok(changed)
}

/// Puts `nothing` in the place of what tells the tokens of texts that changed, are held, or stand elsewhere.
pub(super) fn hide_tokens(core: &mut Core, tokens: &[Range<usize>], nothing: &[u8]) {
    for span in tokens {
        core.splice.replace(span.clone(), nothing);
    }
}

/// The decoded text of a literal with its quotes.
pub(super) fn inner(literal: &str) -> std::borrow::Cow<'_, str> {
    json::decode(literal.get(1..literal.len().saturating_sub(1)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_without_text_are_sorted() {
        assert!(NO_TEXT.is_sorted());
    }

    #[test]
    fn texts_are_found_wherever_they_stand() {
        let data = r#"{"type":"message","id":"x","content":[{"type":"output_text","text":"a","logprobs":[1],
            "annotations":[{"url":"b","n":1}]},"bare"],"arguments":"{}","input":{"k":1},"encrypted_content":"zz",
            "thinking":"t","summary":null,"name":""}"#;
        let mut walk = Walk::over(data, 16).expect("JSON");
        let value = walk.value().expect("JSON");
        let mut texts = Texts::default();
        texts.collect(&mut walk, value).expect("JSON");
        let mut places = Places::new(data, Home::Answer);
        let mut see = |piece: &Piece| (&data[piece.span.clone()], piece.kind, places.name(piece));
        let seen: Vec<(&str, Kind, String)> = texts.pieces.iter().map(&mut see).collect();
        let expect = [
            ("\"a\"", Kind::Text, "content[0].text"),
            ("\"b\"", Kind::Text, "content[0].annotations[0].url"),
            ("\"bare\"", Kind::Text, "content[1]"),
            ("\"{}\"", Kind::Arguments, "arguments"),
            ("{\"k\":1}", Kind::Raw, "input"),
            ("\"t\"", Kind::Signed, "thinking"),
        ];
        assert_eq!(seen, expect.map(|(text, kind, place)| (text, kind, place.to_owned())));
        assert_eq!(texts.tokens.len(), 1);
    }
}
