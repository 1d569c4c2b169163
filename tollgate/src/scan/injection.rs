//! How much of a prompt injection a text is.

use serde::Serialize;
use tollgate_filters::scan::injection::{Score, Scratch};
use tollgate_filters::scan::{Action, Direction, Escapes, Rules, Switches};

/// What a text is scored by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scored {
    action: Action,
    threshold: u8,
    /// Escapes that are looked through.
    decode: Escapes,
}

/// A score, as `--jsonl` tells it.
#[derive(Serialize)]
pub(super) struct Told<'a> {
    score: u8,
    threshold: u8,
    action: &'static str,
    signals: Vec<Signal<'a>>,
}

#[derive(Serialize)]
struct Signal<'a> {
    signal: &'a str,
    points: u8,
}

impl Scored {
    /// Answers are not scored: what the model says is no order to it.
    pub(super) fn of(switches: &Switches, direction: Direction, tool_result: bool) -> Option<Scored> {
        let (policy, decode) = (&switches.injection, switches.decode);
        let (action, threshold) = if tool_result {
            (policy.tool_results.action.unwrap_or(policy.action), policy.tool_results.threshold)
        } else {
            (policy.action, policy.threshold)
        };
        (direction == Direction::Request && action != Action::Off).then_some(Scored {
            action,
            threshold,
            decode,
        })
    }

    /// The score of a text; none where nothing speaks for an injection.
    pub(super) fn score(self, rules: &Rules, text: &str) -> Option<Score> {
        let score = rules.injection_through(self.decode, text, &mut Scratch::default());
        (score.points > 0).then_some(score)
    }

    /// Whether a score is a finding.
    pub(super) fn is_finding(self, score: &Score) -> bool {
        score.points >= self.threshold
    }

    pub(super) fn told(self, score: &Score) -> Told<'_> {
        Told {
            score: score.points,
            threshold: self.threshold,
            action: self.action.as_str(),
            signals: score
                .signals
                .iter()
                .map(|(signal, points)| Signal { signal, points: *points })
                .collect(),
        }
    }

    /// What the table says of it.
    pub(super) fn line(self, score: &Score) -> String {
        let action = if self.is_finding(score) {
            self.action.as_str().to_owned()
        } else {
            format!("below {}", self.threshold)
        };
        format!("{score}  {action}")
    }
}
