"""Writes a tiny llama with random weights as GGUF: a real model for a real engine, made in a second, that says nonsense.

The vocabulary is a byte fallback, a few common words and single characters, so any text can be tokenised and a grammar can
force any text, one character per token. The unknown, control and byte tokens have zero rows in the output matrix: random
sampling then prefers words, and an answer seldom ends by chance.
"""

import pathlib
import sys

import gguf
import numpy as np

WIDTH, HEADS, LAYERS, FEED_FORWARD = 64, 4, 2, 128
CONTEXT = 8192
WORDS = (
    "a about after again all also an and any are as at back be been but by can come could day do down even find first for "
    "from get give go good great had has have he her here him his how i if in into is it its just know like little long "
    "look made make man many may me men more most much must my new no not now of on one only or other our out over people "
    "right said say see she should so some such take than that the their them then there these they thing think this time "
    "to two up us use very want was water way we well went were what when where which who will with word work world would "
    "year you your"
).split()
CHARACTERS = "\u2581\nabcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .,:;!?@-_+*=<>[]{}()/\\|'\"#$%&~^`"
TEMPLATE = "{% for message in messages %}[{{ message.role }}] {{ message.content }}\n{% endfor %}[assistant]"


def vocabulary():
    """Rows of (text, score, type), in the order of their ids."""
    kinds = gguf.TokenType
    rows = [("<unk>", 0.0, kinds.UNKNOWN), ("<s>", 0.0, kinds.CONTROL), ("</s>", 0.0, kinds.CONTROL)]
    rows += [(f"<0x{byte:02X}>", 0.0, kinds.BYTE) for byte in range(256)]
    fixed = len(rows)
    rows += [(f"\u2581{word}", -1.0 - rank, kinds.NORMAL) for rank, word in enumerate(WORDS)]
    known = {text for text, _, _ in rows}
    # Far worse than any word: the tokeniser joins characters into words where it can.
    rows += [(char, -1000.0 - rank, kinds.NORMAL) for rank, char in enumerate(CHARACTERS) if char not in known]
    return rows, fixed


def write(path):
    rows, fixed = vocabulary()
    random = np.random.default_rng(20)

    def matrix(*shape):
        return random.normal(0.0, 0.5, shape).astype(np.float32)

    out = gguf.GGUFWriter(path, "llama")
    out.add_name("tiny-random")
    out.add_context_length(CONTEXT)
    out.add_embedding_length(WIDTH)
    out.add_block_count(LAYERS)
    out.add_feed_forward_length(FEED_FORWARD)
    out.add_head_count(HEADS)
    out.add_head_count_kv(HEADS)
    out.add_rope_dimension_count(WIDTH // HEADS)
    out.add_layer_norm_rms_eps(1e-5)
    out.add_vocab_size(len(rows))
    out.add_file_type(gguf.LlamaFileType.ALL_F32)
    out.add_tokenizer_model("llama")
    out.add_token_list([text for text, _, _ in rows])
    out.add_token_scores([score for _, score, _ in rows])
    out.add_token_types([int(kind) for _, _, kind in rows])
    out.add_unk_token_id(0)
    out.add_bos_token_id(1)
    out.add_eos_token_id(2)
    out.add_chat_template(TEMPLATE)

    out.add_tensor("token_embd.weight", matrix(len(rows), WIDTH))
    head = matrix(len(rows), WIDTH)
    head[:fixed] = 0.0
    out.add_tensor("output.weight", head)
    out.add_tensor("output_norm.weight", np.ones(WIDTH, np.float32))
    for layer in range(LAYERS):
        block = f"blk.{layer}"
        for norm in ("attn_norm", "ffn_norm"):
            out.add_tensor(f"{block}.{norm}.weight", np.ones(WIDTH, np.float32))
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            out.add_tensor(f"{block}.{part}.weight", matrix(WIDTH, WIDTH))
        for part in ("ffn_gate", "ffn_up"):
            out.add_tensor(f"{block}.{part}.weight", matrix(FEED_FORWARD, WIDTH))
        out.add_tensor(f"{block}.ffn_down.weight", matrix(WIDTH, FEED_FORWARD))
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


if __name__ == "__main__":
    target = pathlib.Path(sys.argv[1])
    partial = target.with_suffix(".partial")
    write(partial)
    partial.rename(target)  # another start may be waiting for the whole file
