//! Embeddings: <https://platform.openai.com/docs/api-reference/embeddings>.

use base64::Engine as _;
use serde_json::{Value, json};

use crate::ask::Ask;
use crate::script::Tokens;

const DIMENSIONS: usize = 16;

/// The same text always gives the same unit vector.
pub(crate) fn answer(ask: &Ask<'_>) -> (Value, Tokens) {
    let input = ask.input.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or(Value::Null);
    let texts: Vec<String> = match &input {
        // An array of numbers is one text, already tokenised.
        Value::Array(items) if !items.iter().all(Value::is_number) => items.iter().map(text).collect(),
        one => vec![text(one)],
    };
    let dimensions = ask.dimensions.unwrap_or(DIMENSIONS).clamp(1, 4096);
    let base64 = ask.encoding_format.as_deref() == Some("base64");
    let row = |(index, text): (usize, &String)| {
        let vector = vector(text, dimensions);
        let embedding = if base64 {
            let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
            Value::from(base64::engine::general_purpose::STANDARD.encode(bytes))
        } else {
            Value::from(vector)
        };
        json!({"object": "embedding", "index": index, "embedding": embedding})
    };
    let tokens = Tokens { input: ask.input_tokens(), ..Tokens::default() };
    let body = json!({
        "object": "list", "data": texts.iter().enumerate().map(row).collect::<Vec<_>>(), "model": ask.model,
        "usage": {"prompt_tokens": tokens.input, "total_tokens": tokens.input},
    });
    (body, tokens)
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn vector(text: &str, dimensions: usize) -> Vec<f32> {
    // FNV-1a, stretched by xorshift: any spread will do.
    let mut state = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    let mut draw = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    let mut vector: Vec<f32> = (0..dimensions).map(|_| draw()).collect();
    let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    vector.iter_mut().for_each(|x| *x /= length);
    vector
}
