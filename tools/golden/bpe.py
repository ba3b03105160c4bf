"""bpe.py - a synthetic byte-level BPE tokenizer in Qwen's file format.

256 byte tokens, then one token a merge, then the added tokens of the released tokenizer in its order. As
there, the seven H3 tokens stand only in tokenizer_config.json's `additional_special_tokens`, so a reader
must append them itself. merges.txt has no `#version` line, again as released. The merges are trained on the
few lines below: enough for merges across a leading space, across the bytes of one character, and chains.
"""

import json
import os
import re
from collections import Counter

CORPUS = """a red fox walks through the snow and the wind is in the trees
the rain falls on the tin roof while a train goes past in the distance
she says hold on, it's the last one; they're here and we've seen them
a ball bounces on the wooden floor with a low thud then rolls away
le café est fermé, déjà vu à l'été, naïve façade, über größer straße
the camera moves slowly across the water as the light changes, then stops
123 456 2026 ... !!! --- ??? == ::
中文中文字 日本日本語 привет привет мир
description: [Shot 1] the street at night. overall_soundscape: the traffic."""

ADDED = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>",
         "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
         "<|image_pad|>", "<|video_pad|>", "<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>",
         "<|fim_suffix|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>", "<tool_response>", "</tool_response>",
         "<think>", "</think>")
H3_ONLY = ("<d>", "</d>", "<|cutoff|>", "<|lyrics_start|>", "<|lyrics_end|>", "<|caption_start|>", "<|caption_end|>")


def alphabet():
    """The GPT-2 map from byte to printable character."""
    keep = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [b for b in range(256) if b not in keep]
    return {**{b: chr(b) for b in keep}, **{b: chr(0x100 + i) for i, b in enumerate(rest)}}


def train(count):
    """The `count` most frequent merges, ties broken by the pair itself."""
    chars = alphabet()
    words = Counter(re.findall(r" ?\w+| ?[^\w\s]+", CORPUS))
    split = {w: tuple(chars[b] for b in w.encode()) for w in words}
    merges = []
    while len(merges) < count:
        pairs = Counter()
        for w, n in words.items():
            for pair in zip(split[w], split[w][1:]):
                pairs[pair] += n
        best = max(pairs.items(), key=lambda kv: (kv[1], kv[0]))[0]
        merges.append(best)
        for w, s in split.items():
            out, i = [], 0
            while i < len(s):
                if s[i:i + 2] == best:
                    out.append(s[i] + s[i + 1])
                    i += 2
                else:
                    out.append(s[i])
                    i += 1
            split[w] = tuple(out)
    return merges


def special_ids(merge_count):
    """Ids of the added tokens, the seven H3 tokens last."""
    first = 256 + merge_count
    return {t: first + i for i, t in enumerate(ADDED + H3_ONLY)}


def write_json(path, thing, indent=1):
    with open(path, "w", encoding="utf-8") as f:
        json.dump(thing, f, ensure_ascii=False, indent=indent)
        f.write("\n")


def write(folder, merge_count):
    """vocab.json, merges.txt and tokenizer_config.json: all that Qwen2Tokenizer needs."""
    os.makedirs(folder, exist_ok=True)
    chars = alphabet()
    merges = train(merge_count)
    tokens = [chars[b] for b in sorted(chars, key=lambda b: (b not in range(0x21, 0x7F), chars[b]))]
    tokens += [a + b for a, b in merges]
    if len(set(tokens)) != len(tokens):
        raise ValueError("two merges give one token: change the corpus")
    write_json(os.path.join(folder, "vocab.json"), {t: i for i, t in enumerate(tokens)}, indent=None)
    with open(os.path.join(folder, "merges.txt"), "w", encoding="utf-8") as f:
        f.writelines(f"{a} {b}\n" for a, b in merges)
    plain = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
    not_special = [t for t in ADDED if t.startswith(("<tool", "</tool", "<think", "</think", "<|fim", "<|repo", "<|file"))]
    ids = special_ids(merge_count)
    write_json(os.path.join(folder, "tokenizer_config.json"), {
        "add_prefix_space": False,
        "added_tokens_decoder": {str(ids[t]): {"content": t, **plain, "special": t not in not_special} for t in ADDED},
        "additional_special_tokens": [t for t in ADDED[1:14]] + list(H3_ONLY),
        "bos_token": None, "clean_up_tokenization_spaces": False, "eos_token": "<|im_end|>", "errors": "replace",
        "model_max_length": 262144, "pad_token": "<|endoftext|>", "split_special_tokens": False,
        "tokenizer_class": "Qwen2Tokenizer", "unk_token": None})
    return len(tokens) + len(ADDED) + len(H3_ONLY)
