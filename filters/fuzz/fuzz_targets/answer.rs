#![no_main]
//! The answer pipeline on every surface: the same answer for every way of cutting it, nothing before there is content, nothing
//! after an end, well-formed events only, and no value that a guard was to mask.

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use tollgate_filters::answer::{Form, Guard, Options, Pipeline, Step};
use tollgate_filters::chat::Api;
use tollgate_filters::frames::{Decoder, Frame};
use tollgate_filters::scan::{Action, Direction, Masker, Policy, Rules, Switches};

static RULES: LazyLock<(Arc<Rules>, [Arc<Policy>; 3])> = LazyLock::new(|| {
    let rules = Arc::new(Rules::compile(&Rules::builtin_specs()).expect("built-in rules compile"));
    let policy = |action| Arc::new(rules.policy(Direction::Answer, |_| action, Switches::default()));
    let policies = [policy(Action::Mask), policy(Action::Block), policy(Action::Log)];
    (rules, policies)
});

const APIS: [Api; 6] =
    [Api::Chat, Api::Completions, Api::Responses, Api::Messages, Api::Embeddings, Api::CountTokens];

fn options(mode: u8) -> Options {
    let (rules, policies) = &*RULES;
    let guard = policies
        .get(usize::from(mode >> 4 & 3))
        .map(|policy| Guard { rules: rules.clone(), policy: policy.clone() });
    Options {
        guard,
        usage_asked: mode & 0x40 != 0,
        max_event: 2048,
        max_lanes: 16,
        max_answer: 3000,
        keep_text: 64,
        ..Options::new(APIS[usize::from(mode & 15) % APIS.len()])
    }
}

fn run<'a>(mode: u8, chunks: impl Iterator<Item = &'a [u8]>) -> (Vec<u8>, Step, Option<u64>) {
    let form = if mode & 0x80 == 0 { Form::Events } else { Form::Plain };
    let mut pipeline = Pipeline::new(options(mode), Masker::new());
    pipeline.begin(form);
    let mut out = Vec::new();
    let mut step = Step::More;
    for chunk in chunks {
        step = pipeline.push(chunk, &mut out);
        assert!(out.is_empty() || pipeline.has_content());
        if step != Step::More {
            break;
        }
    }
    if step == Step::More {
        step = pipeline.finish(&mut out);
    }
    assert_ne!(step, Step::More);
    assert_eq!(pipeline.held(), 0);
    assert!(pipeline.text().len() <= 64);
    let end = out.len();
    assert_eq!(pipeline.push(b"data: {\"late\":1}\n\n", &mut out), step);
    assert_eq!(out.len(), end);
    (out, step, pipeline.usage().map(|usage| usage.output))
}

fuzz_target!(|input: &[u8]| {
    let [mode, size, bytes @ ..] = input else { return };
    let whole = run(*mode, [bytes].into_iter());
    let cut = run(*mode, bytes.chunks(1 + usize::from(*size)));
    assert_eq!(cut, whole);
    assert_eq!(run(*mode, bytes.chunks(1)), whole);
    if mode & 0x80 == 0 {
        let mut decoder = Decoder::new(1 << 20);
        decoder.feed(&whole.0);
        while let Ok(Some(frame)) = decoder.next_frame() {
            let Frame::Event(event) = frame else { continue };
            let json = serde_json::from_slice::<serde_json::Value>(event.data);
            assert!(event.data == b"[DONE]" || json.is_ok() || is_out_of_range(json.err()));
        }
        assert!(decoder.is_between_events(), "whole events only");
    }
});

fn is_out_of_range(error: Option<serde_json::Error>) -> bool {
    error.is_some_and(|error| {
        error.to_string().contains("out of range") || error.to_string().contains("recursion")
    })
}
