//! Whatever a file holds, it is answered.

use proptest::prelude::*;

use super::{load, problems};

const ALL_ON: &str = include_str!("../../../../conf/all-on.yaml");
const FLEET: &str = include_str!("../../../../conf/fleet.yaml");

/// One thing that somebody could type in the place of another.
fn scrap() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        Just("null".to_owned()),
        Just("[]".to_owned()),
        Just("{}".to_owned()),
        Just("{a: 1}".to_owned()),
        Just("[1, x, {}]".to_owned()),
        Just("-1".to_owned()),
        Just("1.5".to_owned()),
        Just("99999999999999999999".to_owned()),
        Just("true".to_owned()),
        Just("off".to_owned()),
        Just("\"${NOWHERE}\"".to_owned()),
        Just("\"${EMPTY}\"".to_owned()),
        Just("\"${FOUR}\"".to_owned()),
        Just("{file: /nowhere}".to_owned()),
        Just("*".to_owned()),
        "[ -~]{0,12}",
        any::<i64>().prop_map(|number| number.to_string()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_text_is_answered(text in "[a-z :\\[\\]{},&*!|>'\"%@`#?\n-]{0,80}|\\PC{0,60}") {
        let _ = problems(&text);
    }

    /// The shape covers what serde asks for: its own word is never needed.
    #[test]
    fn a_changed_example_is_answered_by_the_shape(
        fleet: bool,
        changes in prop::collection::vec((any::<prop::sample::Index>(), scrap(), any::<bool>()), 1..4),
    ) {
        let mut lines: Vec<String> =
            if fleet { FLEET } else { ALL_ON }.lines().map(str::to_owned).collect();
        for (at, scrap, whole) in changes {
            let line = at.get(&lines).clone();
            let position = at.index(lines.len());
            lines[position] = match line.rsplit_once(": ").filter(|_| !whole) {
                Some((key, _)) => format!("{key}: {scrap}"),
                None => scrap,
            };
        }
        if let Err(report) = load(&lines.join("\n")) {
            prop_assert!(!report.problems.is_empty());
            for located in &report.problems {
                prop_assert!(!located.problem.message.contains("please report"), "{}", report);
                prop_assert!(located.line >= 1 && located.column >= 1);
            }
        }
    }
}
