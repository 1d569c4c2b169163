//! Request bodies of a wanted size: plain English with nothing in it that a guardrail would find.

use serde_json::json;

const PROSE: &str = "The committee met again on a grey morning and went through the plan in the order in which it was written. \
    Nobody had expected that the second part would take longer than the first, yet the questions came one after another, \
    about the price of the materials, the time that the work would need, and the people who were to do it. Towards noon a \
    member who had been silent proposed to begin with the smallest piece and to learn from it, which found favour at once. ";

/// A chat body of `size` bytes, or the smallest possible one above it.
pub(crate) fn body(model: &str, size: usize, stream: bool) -> String {
    let with = |content: &str| {
        let mut body = json!({"model": model, "messages": [{"role": "user", "content": content}]});
        if stream {
            body["stream"] = true.into();
        }
        body.to_string()
    };
    let room = size.saturating_sub(with("").len());
    let content: String = PROSE.chars().cycle().take(room).collect();
    with(&content)
}

#[cfg(test)]
mod tests {
    #[test]
    fn bodies_have_the_size_asked_for() {
        for size in [300, 32 * 1024] {
            assert_eq!(super::body("words:20", size, false).len(), size);
        }
    }
}
