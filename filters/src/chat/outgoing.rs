//! The body that goes to an upstream: the caller's, with splices.

use bytes::Bytes;

use super::call::StreamOptions;
use super::{Api, Call};
use crate::json::{self, Edits};

/// What one attempt changes.
#[derive(Debug, Clone)]
pub struct Outgoing<'a> {
    /// The model's name at this target.
    pub model: &'a str,
    /// Whether the upstream is to report usage in the stream, asked or not. A property of the target: some refuse the option.
    pub usage: bool,
    /// What screening changed.
    pub edits: Edits,
}

impl Call {
    /// The body for one attempt. Every byte that nothing asked to change stays; with nothing to change it is the same buffer.
    pub fn outgoing(&self, body: &Bytes, out: Outgoing<'_>) -> Bytes {
        let mut edits = out.edits;
        if out.model != self.model {
            let mut name = Vec::with_capacity(out.model.len() + 2);
            json::encode(out.model, &mut name);
            edits.replace(self.spans.model.clone(), name);
        }
        let can_ask = matches!(self.api, Api::Chat | Api::Completions);
        if out.usage && can_ask && self.stream && !self.usage_asked {
            match &self.spans.stream_options {
                StreamOptions::Absent => {
                    edits.insert(self.spans.first_member, *br#""stream_options":{"include_usage":true},"#);
                }
                StreamOptions::Null(span) => edits.replace(span.clone(), *br#"{"include_usage":true}"#),
                StreamOptions::Without { first_member, empty: true } => {
                    edits.insert(*first_member, *br#""include_usage":true"#);
                }
                StreamOptions::Without { first_member, empty: false } => {
                    edits.insert(*first_member, *br#""include_usage":true,"#);
                }
                StreamOptions::With(span) => edits.replace(span.clone(), *b"true"),
            }
        }
        edits.apply(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::ReadBounds;

    fn outgoing(api: Api, body: &str, model: &str, usage: bool) -> String {
        let call = Call::read(api, body.as_bytes(), ReadBounds::default()).expect(body);
        let out = Outgoing { model, usage, edits: Edits::new() };
        String::from_utf8(call.outgoing(&Bytes::copy_from_slice(body.as_bytes()), out).to_vec())
            .expect("UTF-8")
    }

    #[test]
    fn only_what_was_asked_changes() {
        // Spelling of numbers, order, white space, null against absent, unknown fields, duplicates that nobody reads.
        let strange = r#" { "n" : 1.0,"x":1e999, "y":12345678901234567890123, "model" : "a\u002fb" ,
            "x":null,"messages":[{"role":"user","content":"\u00e9\/"}],"kv_transfer_params":{} , "stream":true}  "#;
        assert_eq!(outgoing(Api::Chat, strange, "a/b", false), strange);
        assert_eq!(
            outgoing(Api::Chat, strange, "n\"é", false),
            strange.replace(r#""a\u002fb""#, r#""n\"é""#)
        );
        assert_eq!(
            outgoing(Api::Chat, strange, "a/b", true),
            strange.replacen(" {", r#" {"stream_options":{"include_usage":true},"#, 1)
        );
    }

    #[test]
    fn usage_is_asked_once() {
        let body = |options: &str| format!(r#"{{"model":"m","prompt":"p","stream":true{options}}}"#);
        let table = [
            (r#","stream_options":null"#, r#","stream_options":{"include_usage":true}"#),
            (r#","stream_options":{}"#, r#","stream_options":{"include_usage":true}"#),
            (r#","stream_options":{ "a":1 }"#, r#","stream_options":{"include_usage":true, "a":1 }"#),
            (
                r#","stream_options":{"a":1,"include_usage": false }"#,
                r#","stream_options":{"a":1,"include_usage": true }"#,
            ),
            (r#","stream_options":{"include_usage":null}"#, r#","stream_options":{"include_usage":true}"#),
            (r#","stream_options":{"include_usage":true}"#, r#","stream_options":{"include_usage":true}"#),
        ];
        for (before, after) in table {
            assert_eq!(outgoing(Api::Completions, &body(before), "m", true), body(after));
            assert_eq!(outgoing(Api::Completions, &body(before), "m", false), body(before));
        }
    }

    #[test]
    fn usage_is_asked_only_of_streams_of_these_surfaces() {
        for (api, body) in [
            (Api::Chat, r#"{"model":"m","messages":[{"role":"user"}]}"#),
            (Api::Messages, r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"a"}]}"#),
            (Api::Responses, r#"{"model":"m","stream":true,"input":"a"}"#),
            (Api::Embeddings, r#"{"model":"m","stream":true,"input":"a"}"#),
        ] {
            assert_eq!(outgoing(api, body, "m", true), body);
        }
    }

    #[test]
    fn edits_of_screening_join_ours() {
        let body = r#"{"model":"m","messages":[{"role":"user","content":"secret"}],"stream":true}"#;
        let call = Call::read(Api::Chat, body.as_bytes(), ReadBounds::default()).expect(body);
        let mut edits = Edits::new();
        edits.replace(call.texts[0].span.clone(), *br#""***""#);
        let out =
            call.outgoing(&Bytes::from_static(body.as_bytes()), Outgoing { model: "x", usage: true, edits });
        assert_eq!(
            out,
            r#"{"stream_options":{"include_usage":true},"model":"x","messages":[{"role":"user","content":"***"}],"stream":true}"#
        );
    }
}
