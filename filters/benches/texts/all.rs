//! Texts as they pass a gateway; the seeds are this project's own. They stay as they are: counts are compared with older ones.

const ENGLISH: &str = "The committee met on Tuesday to discuss the proposal, which had been circulated a week earlier. Several \
    members asked why the cost had grown; the answer, given at some length, was that prices of steel and timber rose by \
    11 percent in 2023. It was agreed to return to the question in spring, after the report of the auditors.\n";
const CODE: &str = include_str!("code.txt");
const JSON: &str = r#"{"id":"chatcmpl-8f2k","object":"chat.completion","created":1718000000,"model":"mistral-7b","choices":[{"index":0,
    "message":{"role":"assistant","content":"Paris has 2102650 inhabitants.","tool_calls":null},"logprobs":null,
    "finish_reason":"stop"}],"usage":{"prompt_tokens":128,"completion_tokens":17,"total_tokens":145,"cost":0.000231}}
    "#;
const CHINESE: &str = "大型语言模型的网关负责认证、限流与审计。它必须在流式回答中逐字检查敏感信息，而不能让用户感到延迟。\
    去年共有二千三百名工程师参与了测试，结果令人满意。\n";
const EMOJI: &str = "Great news 🎉🎉 the release is out 🚀! Thanks to everyone 🙏🏽 who tested it 👩‍💻👨‍💻, see you at the party 🥳✨ \
    tonight… ❤️\n";
const LOG: &str = "2024-05-14T09:21:07.341Z INFO  worker[2217] request 8f14e45f-ceea-4a7b-9c51-3d2f1a0b7c66 done status=200 \
    bytes=18231 in 12.4ms (queue 0.3ms)\n";

/// Each seed repeated to at least `size` bytes, under its name.
pub(crate) fn texts(size: usize) -> Vec<(&'static str, String)> {
    let seeds = [
        ("english", ENGLISH),
        ("code", CODE),
        ("json", JSON),
        ("chinese", CHINESE),
        ("emoji", EMOJI),
        ("log", LOG),
    ];
    seeds.map(|(name, seed)| (name, seed.repeat(size / seed.len() + 1))).into()
}

/// Pieces of at most `size` bytes, cut at character borders.
pub(crate) fn pieces(text: &str, size: usize) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let mut cut = size.min(rest.len());
        while !rest.is_char_boundary(cut) {
            cut += 1;
        }
        let (piece, others) = rest.split_at(cut);
        rest = others;
        (!piece.is_empty()).then_some(piece)
    })
}
