//! A text that arrives in pieces.

use std::sync::Arc;

use super::{Action, Found, Masker, Policy, Rules, Shape};

/// What happened to a piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flow {
    /// What may leave was appended to the output.
    Pass,
    /// A finding whose action is [`Action::Block`]: what stands before it was appended, nothing more will be.
    Block(Found),
}

/// How a text ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The text is whole.
    Whole,
    /// It was cut short (`finish_reason: length`): a candidate past its trigger is masked, not released.
    CutShort,
}

/// The scanner of one lane. The result is the same for every way of cutting the text.
#[derive(Debug)]
pub struct Scanner {
    rules: Arc<Rules>,
    policy: Arc<Policy>,
    location: Box<str>,
    shape: Shape,
    text: String,
    blocked: Option<Found>,
}

impl Scanner {
    pub fn new(rules: &Arc<Rules>, policy: &Arc<Policy>) -> Scanner {
        Scanner {
            rules: rules.clone(),
            policy: policy.clone(),
            location: "".into(),
            shape: Shape::Text,
            text: String::new(),
            blocked: None,
        }
    }

    /// Sets the place under which findings are noted: `choices[0].message.content`.
    #[must_use]
    pub fn at(mut self, location: impl Into<Box<str>>) -> Scanner {
        self.location = location.into();
        self
    }

    /// Sets what the text is written as.
    #[must_use]
    pub fn shaped(mut self, shape: Shape) -> Scanner {
        self.shape = shape;
        self
    }

    /// Takes the next piece; appends to `out` what may leave now.
    pub fn push(&mut self, text: &str, _masker: &mut Masker, _out: &mut String) -> Flow {
        if let Some(found) = &self.blocked {
            return Flow::Block(found.clone());
        }
        self.text.push_str(text);
        Flow::Pass
    }

    /// The text is over: appends the rest. The scanner is then as new.
    pub fn finish(&mut self, masker: &mut Masker, _end: End, out: &mut String) -> Flow {
        if let Some(found) = &self.blocked {
            return Flow::Block(found.clone());
        }
        let text = std::mem::take(&mut self.text);
        let mut all = Vec::new();
        self.rules.scan(&self.policy, &text, &mut all);
        let mut sent = 0;
        for found in all {
            let value = &text[found.span.clone()];
            masker.note(&self.location, &found, value);
            if !found.action.acts() {
                continue;
            }
            out.push_str(&text[sent..found.span.start]);
            sent = found.span.end;
            if found.action == Action::Block {
                self.blocked = Some(found.clone());
                return Flow::Block(found);
            }
            out.push_str(&masker.stand_in(&found, value, self.shape));
        }
        out.push_str(&text[sent..]);
        Flow::Pass
    }

    /// The text broke off: throws away what is held and says how many bytes that was.
    pub fn discard(&mut self) -> usize {
        let held = self.held();
        self.text.clear();
        held
    }

    /// Bytes held back now.
    pub fn held(&self) -> usize {
        self.text.len()
    }
}
