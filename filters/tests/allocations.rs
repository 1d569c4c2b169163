//! A scanner that has seen some of its text allocates nothing for what comes next, however it is cut.

#[path = "../benches/texts/all.rs"]
mod texts;

use std::sync::{Arc, LazyLock};

use tollgate_filters::scan::{Action, Direction, Escape, Escapes, Masker, Policy, Rules, Scanner, Switches};

static RULES: LazyLock<Arc<Rules>> =
    LazyLock::new(|| Arc::new(Rules::compile(&Rules::builtin_specs()).expect("built-in rules compile")));

/// Bytes of a text.
const SIZE: usize = 64 << 10;

fn policy(decode: &[Escape]) -> Arc<Policy> {
    let switches = Switches { decode: Escapes::new(decode), ..Switches::default() };
    Arc::new(RULES.policy(Direction::Answer, |_| Action::Mask, switches))
}

#[test]
fn the_steady_state_allocates_nothing() {
    let counts = allocation_counter::measure(|| drop(std::hint::black_box(vec![0_u8; 100])));
    assert_eq!(counts.count_total, 1, "allocations are counted");
    for (what, policy) in [("plain", policy(&[])), ("escapes", policy(&[Escape::Html, Escape::Percent]))] {
        for (name, text) in texts::texts(SIZE) {
            for size in [1, 4, 7, 64, 4096] {
                let mut masker = Masker::new();
                let mut scanner = Scanner::new(&RULES, &policy);
                let mut out = String::with_capacity(2 * SIZE);
                let mut push_all = || {
                    for piece in texts::pieces(&text, size) {
                        scanner.push(piece, &mut masker, &mut out);
                    }
                    out.clear();
                };
                push_all();
                let took = allocation_counter::measure(&mut push_all);
                assert_eq!(took.count_total, 0, "{name} by {size} bytes, {what}: {took:?}");
            }
        }
    }
}
