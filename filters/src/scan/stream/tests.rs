use super::*;
use crate::scan::tests::BUILTIN;
use crate::scan::{Action, Direction, Escape, Escapes, Switches};

/// A stream of any length takes as much memory as a short one.
#[test]
fn what_was_sent_is_forgotten() {
    let decode = Escapes::new(&[Escape::Html, Escape::Percent]);
    let policy = |decode| {
        let switches = Switches { decode, ..Switches::default() };
        Arc::new(BUILTIN.policy(Direction::Answer, |_| Action::Mask, switches))
    };
    let (plain, decoding) = (policy(Escapes::NONE), policy(decode));
    let (_, held) = BUILTIN.max_held(&plain);
    for part in [
        "Plain words, and alice@corp.com between them. ",
        "7 17 305 ",
        "字é🎉\u{200b}",
        "v8Wc6",
        "key sk-T3BlbkFJx9Qa7Lm2Zp4Rv8Wc6Yd1Nf5Hg0JkSbTe3UiXo\n",
    ] {
        // The decoded text as well, which an escape in every piece keeps going.
        for (size, policy, escape) in
            [(7, &plain, ""), (700, &plain, ""), (7, &decoding, "%41&amp;"), (700, &decoding, "%41 ")]
        {
            let piece = format!("{escape}{}", part.repeat(size / part.len() + 1));
            let mut scanner = Scanner::new(&BUILTIN, policy);
            let (mut masker, mut out) = (Masker::new(), String::new());
            for _ in 0..100_000 / piece.len() {
                scanner.push(&piece, &mut masker, &mut out);
                let most = 2 * (SLACK + MARGIN) + held + piece.len();
                assert!(scanner.window.len() <= most, "{} bytes are kept of {part:?}", scanner.window.len());
                let (decoded, marks) = scanner.pass.kept();
                assert!(decoded <= most && marks <= most / 2, "{decoded} bytes, {marks} marks of {part:?}");
                out.clear();
            }
        }
    }
}
