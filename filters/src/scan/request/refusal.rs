//! What a caller is told whose request is refused: which message, which kind, how to go on.

use crate::chat::Role;
use crate::verdict::{Code, Detail, Rejection};

/// Findings named in one refusal; the rest are counted.
const MOST_DETAILS: usize = 16;

/// Longest value that is shown, where values are shown.
const LONGEST_VALUE: usize = 256;

/// The findings that a request is refused for.
#[derive(Debug, Default)]
pub(super) struct Refusal {
    show_values: bool,
    code: Option<Code>,
    details: Vec<Detail>,
    /// Role of the first finding's text.
    role: Option<Role>,
    more: usize,
}

impl Refusal {
    pub(super) fn new(show_values: bool) -> Self {
        Refusal { show_values, ..Refusal::default() }
    }

    pub(super) fn add(&mut self, role: Role, kind: &str, location: &str, value: &str, stand_in: String) {
        // A secret is the graver news; an injection is the least certain.
        let rank = |code| match code {
            Code::SecretDetected => 2,
            Code::PiiDetected => 1,
            _ => 0,
        };
        let code = code_of(kind);
        if self.code.is_none_or(|worst| rank(code) > rank(worst)) {
            self.code = Some(code);
        }
        self.role.get_or_insert(role);
        if self.details.len() >= MOST_DETAILS {
            self.more += 1;
            return;
        }
        let value = if self.show_values { value.chars().take(LONGEST_VALUE).collect() } else { stand_in };
        self.details.push(Detail { kind: kind.to_owned(), location: location.to_owned(), value });
    }

    pub(super) fn into_rejection(self) -> Option<Rejection> {
        let code = self.code?;
        let mut places: Vec<(&str, Vec<&str>)> = Vec::new();
        for detail in &self.details {
            let noun = noun(&detail.kind);
            match places.iter_mut().find(|(location, _)| *location == detail.location) {
                Some((_, nouns)) if !nouns.contains(&noun) => nouns.push(noun),
                Some(_) => {}
                None => places.push((&detail.location, vec![noun])),
            }
        }
        let named: Vec<String> = places
            .iter()
            .take(3)
            .map(|(location, nouns)| format!("`{location}` holds {}", nouns.join(", ")))
            .collect();
        let mut message = format!("The request was not sent on: {}", named.join("; "));
        let left_out = places.len().saturating_sub(3) + self.more;
        if left_out > 0 {
            message.push_str(&format!("; and {left_out} more"));
        }
        message.push_str(match (code, self.role) {
            (Code::SecretDetected, _) => {
                ". Take it out, and replace it where it is used if it is a real one, then send the request again."
            }
            (Code::PromptInjection, Some(Role::Tool)) => {
                ". Leave that tool result out, or have the tool return less, then send the request again."
            }
            (Code::PromptInjection, _) => ". Take that text out, then send the request again.",
            (_, Some(Role::Tool)) => {
                ". Have the tool leave it out, or replace it with a placeholder, then send the request again."
            }
            _ => ". Take it out, or replace it with a placeholder, then send the request again.",
        });
        if !matches!(self.role, Some(Role::Input | Role::System)) {
            message.push_str(" The rest of the conversation can stay.");
        }
        let first = self.details.first().map(|detail| detail.location.clone());
        let rejection = Rejection::new(code, message).with_details(self.details);
        Some(match first {
            Some(location) => rejection.with_param(location),
            None => rejection,
        })
    }
}

fn code_of(kind: &str) -> Code {
    match kind {
        "secret" => Code::SecretDetected,
        "prompt_injection" => Code::PromptInjection,
        _ => Code::PiiDetected,
    }
}

/// A kind, for people; kinds of an operator's own are called by their name.
fn noun(kind: &str) -> &str {
    match kind {
        "email" => "an e-mail address",
        "phone" => "a phone number",
        "ssn" => "a social security number",
        "credit_card" => "a card number",
        "ip_address" => "an IP address",
        "iban" => "an IBAN",
        "secret" => "a secret (a key, token or password)",
        "prompt_injection" => "instructions meant to override others",
        own => own,
    }
}
