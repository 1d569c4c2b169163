use super::*;
use crate::scan::tests::BUILTIN;
use crate::scan::{Action, Direction, Switches};

/// A stream of any length takes as much memory as a short one.
#[test]
fn what_was_sent_is_forgotten() {
    let policy = Arc::new(BUILTIN.policy(Direction::Answer, |_| Action::Mask, Switches::default()));
    let (_, held) = BUILTIN.max_held(&policy);
    for part in [
        "Plain words, and alice@corp.com between them. ",
        "7 17 305 ",
        "字é🎉\u{200b}",
        "v8Wc6",
        "key sk-T3BlbkFJx9Qa7Lm2Zp4Rv8Wc6Yd1Nf5Hg0JkSbTe3UiXo\n",
    ] {
        for size in [7, 700] {
            let piece = part.repeat(size / part.len() + 1);
            let mut scanner = Scanner::new(&BUILTIN, &policy);
            let (mut masker, mut out) = (Masker::new(), String::new());
            for _ in 0..100_000 / piece.len() {
                scanner.push(&piece, &mut masker, &mut out);
                let most = 2 * (SLACK + MARGIN) + held + piece.len();
                assert!(scanner.window.len() <= most, "{} bytes are kept of {part:?}", scanner.window.len());
                out.clear();
            }
        }
    }
}
