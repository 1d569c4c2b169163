#![no_main]
//! Reading, screening and rewriting a request body on every surface.

use std::sync::LazyLock;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tollgate_filters::chat::{self, Api, Call, Form, Outgoing, ReadBounds};
use tollgate_filters::json::Walk;
use tollgate_filters::scan::request::{self, Options};
use tollgate_filters::scan::{Action, Direction, Masker, Policy, Rules, Switches};

static GUARD: LazyLock<(Rules, [Policy; 2])> = LazyLock::new(|| {
    let rules = Rules::compile(&Rules::builtin_specs()).expect("built-in rules compile");
    let policies = [Action::Mask, Action::Block]
        .map(|action| rules.policy(Direction::Request, |_| action, Switches::default()));
    (rules, policies)
});

fuzz_target!(|body: &[u8]| {
    let bounds = ReadBounds { max_depth: 32, max_texts: 1_000 };
    for api in [Api::Chat, Api::Completions, Api::Embeddings, Api::Responses, Api::Messages, Api::CountTokens]
    {
        match Call::read(api, body, bounds) {
            Ok(call) => check(&call, body),
            Err(rejection) => assert!(rejection.code.status() == 400 && !rejection.message.is_empty()),
        }
    }
    if let Ok((body, call)) = chat::predict(body, "m", bounds) {
        check(&call, &body);
    }
    let _ = chat::predicted(body, chat::Predicted { model: "m", variant: "v", latency_ms: 1 });
});

fn check(call: &Call, body: &[u8]) {
    let mut end = 0;
    for text in &call.texts {
        assert!(
            text.span.start >= end && text.span.end <= body.len(),
            "texts are in order and do not overlap"
        );
        end = text.span.end;
        if text.form != Form::Json {
            assert_eq!((body[text.span.start], body[end - 1]), (b'"', b'"'));
        }
    }
    let _ = call.estimate(body.len());
    let body = Bytes::copy_from_slice(body);
    let (rules, policies) = &*GUARD;
    for policy in policies {
        let mut masker = Masker::new();
        let screened = request::screen(call, &body, rules, policy, &mut masker, Options::default());
        assert!(
            screened.rejection.as_ref().is_none_or(|r| r.code.status() == 400),
            "{:?}",
            screened.rejection
        );
        let audit = request::texts_for_audit(call, &body, &screened, 100);
        assert!(audit.len() <= 100);
        let untouched = screened.edits.is_empty();
        let model = call.model.as_str();
        let out = call.outgoing(&body, Outgoing { model, usage: false, edits: screened.edits.clone() });
        assert_eq!(untouched, out == body);
        let out = call.outgoing(&body, Outgoing { model: "an\"other", usage: true, edits: screened.edits });
        let mut walk = Walk::new(&out, 64).expect("still JSON");
        walk.skip().and_then(|_| walk.end()).expect("still JSON");
        let again =
            Call::read(call.api, &out, ReadBounds { max_depth: 64, max_texts: 1_000 }).expect("still a call");
        assert_eq!((&*again.model, again.stream), ("an\"other", call.stream));
        // Fewer only where JSON whose one number was masked is too short to look at.
        assert!(again.texts.len() <= call.texts.len());
    }
}
