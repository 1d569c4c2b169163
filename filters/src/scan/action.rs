//! What is done about a finding, and which way the text is going.

/// Which way a text travels.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From the caller to the upstream.
    Request,
    /// From the upstream to the caller.
    Answer,
}

/// What is done about a finding; the later in this list, the stronger.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Not looked for.
    Off,
    /// Recorded; the text passes.
    Log,
    /// Recorded as what would have happened; the text passes.
    Shadow,
    /// Replaced by a numbered placeholder such as `[EMAIL_1]`.
    Mask,
    /// Replaced by a keyed stand-in that is swapped back in the answer.
    Pseudonymise,
    /// The request is refused, or the answer ended.
    Block,
}

impl Direction {
    /// Name in metrics, logs and the audit trail.
    pub const fn as_str(self) -> &'static str {
        match self {
            Direction::Request => "request",
            Direction::Answer => "answer",
        }
    }
}

impl Action {
    /// Name in metrics, logs and the audit trail.
    pub const fn as_str(self) -> &'static str {
        match self {
            Action::Off => "off",
            Action::Log => "log",
            Action::Shadow => "shadow",
            Action::Mask => "mask",
            Action::Pseudonymise => "pseudonymise",
            Action::Block => "block",
        }
    }

    /// Whether it changes the text. What does not never holds a byte back.
    pub const fn acts(self) -> bool {
        matches!(self, Action::Mask | Action::Pseudonymise | Action::Block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Metrics, logs and the audit trail use the words of the configuration.
    #[test]
    fn names_are_those_of_the_configuration() {
        for direction in [Direction::Request, Direction::Answer] {
            assert_eq!(serde_json::json!(direction), direction.as_str());
        }
        for action in
            [Action::Off, Action::Log, Action::Shadow, Action::Mask, Action::Pseudonymise, Action::Block]
        {
            assert_eq!(serde_json::json!(action), action.as_str());
        }
    }
}
