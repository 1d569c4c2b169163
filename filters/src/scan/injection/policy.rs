//! What is done about injections.

use serde::{Deserialize, Serialize};

use crate::chat::Role;
use crate::scan::Action;

/// Kind of the findings.
pub const KIND: &str = "prompt_injection";

/// What a profile says of prompt injections in requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct InjectionPolicy {
    /// `off`, `log`, `shadow` or `block`; there is nothing to mask.
    pub action: Action,
    /// Score from which on a text is a finding, 1 to 100.
    #[schemars(range(min = 1, max = 100))]
    pub threshold: u8,
    /// The same for tool results, documents and tool definitions: texts that no user has typed.
    pub tool_results: ToolResults,
}

/// What differs for tool results, documents and tool definitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ToolResults {
    /// As for other texts where it is not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<Action>,
    #[schemars(range(min = 1, max = 100))]
    pub threshold: u8,
}

impl Default for InjectionPolicy {
    fn default() -> Self {
        InjectionPolicy { action: Action::Log, threshold: 50, tool_results: ToolResults::default() }
    }
}

impl Default for ToolResults {
    fn default() -> Self {
        ToolResults { action: None, threshold: 60 }
    }
}

impl InjectionPolicy {
    /// Nothing is looked for.
    pub const OFF: InjectionPolicy = InjectionPolicy {
        action: Action::Off,
        threshold: 100,
        tool_results: ToolResults { action: None, threshold: 100 },
    };

    /// The same thresholds with one action for all texts.
    #[must_use]
    pub fn with_action(mut self, action: Action) -> Self {
        self.action = action;
        self.tool_results.action = None;
        self
    }

    pub(in crate::scan) fn is_off(&self) -> bool {
        self.action == Action::Off && self.tool_results.action.is_none_or(|action| action == Action::Off)
    }

    /// Action and threshold for a text; `None` where it is not looked at: what the application or the model has said.
    pub(in crate::scan) fn of(&self, role: Role) -> Option<(Action, u8)> {
        let (action, threshold) = match role {
            Role::User | Role::Input => (self.action, self.threshold),
            Role::Tool | Role::Document | Role::Schema => {
                (self.tool_results.action.unwrap_or(self.action), self.tool_results.threshold)
            }
            Role::System | Role::Assistant => return None,
        };
        (action != Action::Off).then_some((action, threshold))
    }

    /// What is wrong with it, if something is.
    pub fn problem(&self) -> Option<String> {
        let actions = [Some(self.action), self.tool_results.action];
        if let Some(action) = actions.into_iter().flatten().find(|action| !is_possible(*action)) {
            return Some(format!(
                "`{}` is no action for {KIND}; write off, log, shadow or block",
                action.as_str()
            ));
        }
        let off_scale = |threshold: &u8| !(1..=super::MAX_SCORE).contains(threshold);
        let threshold = [self.threshold, self.tool_results.threshold].into_iter().find(off_scale)?;
        Some(format!("threshold: {threshold} is no score; write 1 to 100"))
    }
}

/// Whether something can be done so about an injection.
pub fn is_possible(action: Action) -> bool {
    matches!(action, Action::Off | Action::Log | Action::Shadow | Action::Block)
}
