"""texts.py - the texts of the tokenizer goldens, each group with the reason that it is there."""

import itertools
import random

GROUPS = [
    ("empty and white space", ["", " ", "  ", "   ", "\t", "\n", "\r\n", "\r\r\n\n", " \n ", "\n\n\n a", "a  b   c    d", "a \n\n b",
                               "trailing  ", "  leading", "a\tb\t\tc", "x\u00a0y", "x\u3000y", "x\u2028y\u2029z", "\u2003wide",
                               "\x0b\x0c", "a\x0bb", "a\x1cb\x1fc"]),
    ("not white space to the pattern, though PCRE2's \\s may say so", ["a\u180eb", "\u180e", " \u180e x", "a\u200bb", "\ufeffa", "x\ufeff"]),
    ("U+0085 is white space, but no line end to the pattern", ["a\u0085b", "\u0085", " \u0085\n", "a\u0085\u0085 b"]),
    ("contractions, any case, long s too", ["it's he'd we'll they're I've I'm don't", "IT'S HE'D WE'LL THEY'RE I'VE I'M DON'T",
                                            "it'\u017f", "it'\u017fs fine", "'s's's", "'", "''", "'x 'll 'lx", "o'clock rock'n'roll",
                                            "it\u2019s", "can't've", "'S'T'RE'VE'M'LL'D", "'rE'vE'lL"]),
    ("numbers, one character each", ["0", "12", "2026", "3.14159", "1,000,000", "a1b2c3", "\u0663\u0664\u0665", "\u2167 \u00bd \u00b2", "x\u00b2+y\u00b2", "\u4e09\u5341",
                                     "\U0001d7d8\U0001d7d9", " 7 77 777", "24fps 32kHz"]),
    ("punctuation runs and what follows them", ["...", "!!!\n", "?!\r\n\r\nnext", " -- ", "--\n\n--", "(a)[b]{c}", "#hash @at $5 50%", "a.b,c;d:e",
                                               "\"quoted\" 'single'", "<>", "</d", "<d", "==\n\n\n", " ...\n", "_a_b_", "a_b", "~`^|\\", "\u2026\u2014\u201c\u201d"]),
    ("NFC: composed and decomposed forms give one result", ["caf\u00e9", "cafe\u0301", "\u212b \u2126 \u00c5", "A\u030a", "\u1e9b\u0323", "\u0958", "\ufb01", "\uac00", "\u1100\u1161",
                                                            "\u1100\u1161\u11a8", "e\u0301\u0323", "q\u0323\u0307", "\u0344", "\u2adc", "n\u0303o", "a\u0300\u0315\u0327b"]),
    ("marks are neither letters nor numbers", ["\u0301", " \u0301a", "\u0939\u093f\u0928\u094d\u0926\u0940", "\u0e20\u0e32\u0e29\u0e32\u0e44\u0e17\u0e22", "\u05e9\u05b8\u05c1\u05dc\u05d5\u05b9\u05dd", "\u0627\u0644\u0644\u064f\u063a\u0629"]),
    ("scripts", ["\u4e2d\u6587\u5b57\u7b26", "\u65e5\u672c\u8a9e\u306e\u30c6\u30b9\u30c8", "\ud55c\uad6d\uc5b4 \ubb38\uc7a5", "\u043f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440!", "\u0393\u03b5\u03b9\u03ac \u03c3\u03bf\u03c5 \u039a\u03cc\u03c3\u03bc\u03b5", "\u10d2\u10d0\u10db\u10d0\u10e0\u10ef\u10dd\u10d1\u10d0",
                 "\u0531\u0580\u0587", "\u1218\u120d\u12ab\u121d", "ti\u1ebfng Vi\u1ec7t", "na\u00efve fa\u00e7ade \u00fcber Stra\u00dfe", "\u4f60\u597d\uff0c\u4e16\u754c\uff01", "\uff21\uff22\uff23\uff11\uff12"]),
    ("emoji: joiners, skin tones, flags, keycaps", ["\U0001f642a!\n", "\U0001f600", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f44d\U0001f3fd", "\U0001f1e9\U0001f1ea", "1\ufe0f\u20e3", "\u2764\ufe0f\u200d\U0001f525", "\U0001fae8"]),
    ("outside every plane that is common", ["\U00010348", "\U000e0041", "\U0010ffff", "\ue000", "\U00020000\U0002a6d6", "\u0378", "\ufffd", "\ud7ff"]),
    ("added tokens inside text", ["<d>[English] hold on</d><|cutoff|>", "<d>[English] Hello there.</d>", "<|lyrics_start|>la la<|lyrics_end|>",
                                  "<|caption_start|> x <|caption_end|>", "<|vision_start|><|image_pad|><|image_pad|><|vision_end|>", "a<|endoftext|>b",
                                  "<|im_start|>user\nhi<|im_end|>\n", "<tool_call>{}</tool_call>", "<think>\n\n</think>", "<|fim_prefix|>a<|fim_suffix|>b<|fim_middle|>",
                                  "<d><d></d></d>", " <d> ", "<d >", "<D>", "<|cutoff|", "|cutoff|>", "<<d>>", "cafe<d>\u0301</d>", "e<|cutoff|>\u0301", "'<d>s",
                                  "<|repo_name|><|file_sep|>", "<tool_response></tool_response>", "  <|video_pad|>  ", "<|quad_start|>(0,0)<|quad_end|>"]),
    ("what the pipeline writes itself", ["<Picture 1>: ", "<Picture 2>: ", "<Audio 1>: ", "<Video 1>: ", "<0.2 seconds>", "<1.2 seconds>", "<10.8 seconds>"]),
    ("prompts", ["A red fox walking through snow", "Hello, WORLD!  2026\n\u4e2d\u6587 caf\u00e9's", "a robot dancing",
                 "integrated_multimodal_description: [Shot 1] x.\noverall_soundscape: y.\nnon_diegetic_music: z.",
                 "integrated_multimodal_description: [Shot 1] A wide shot of a harbour at dawn; gulls wheel over the masts. [Shot 2] Close on a "
                 "fisherman's hands.\noverall_soundscape: water against wood, distant bells.\nnon_diegetic_music: none.",
                 "He turns and says, <d>[English] We're late, aren't we?</d> The door slams.\r\n\r\nCut to black.",
                 "subject_definitions:\n- S1: a woman in a red coat\n- S2: a grey dog\nsummary: they cross a bridge (24 fps, 16:9).",
                 "x" * 300, "ab" * 200, "the " * 100, "\u00e9" * 60, "\U0001f98a" * 20, "a" + " " * 50 + "b", "\n" * 40, "-" * 100, "1" * 40]),
]

PIECES = ["a", "the", "Fox", "it's", "'", "'S", "\u017f", "\u00e9", "e\u0301", "\u4e2d", "\u0663", "7", "42", ".", "!?", "--", "\n", "\r\n", "\r", "\t", " ", "  ", "   ",
          "\u0085", "\u00a0", "\u180e", "\u3000", "\u200b", "\U0001f642", "<d>", "</d>", "<|cutoff|>", "<|im_end|>", "<", ">", "_", "\u0301", "\u093f", "\u00b2", "\ufb01", "Q"]


def mixed(count, seed):
    """Random strings of awkward pieces: neighbours that no hand-written list would put together."""
    rng = random.Random(seed)
    return ["".join(rng.choice(PIECES) for _ in range(rng.randint(2, 14))) for _ in range(count)]


def all_texts(extra, seed=5):
    """(why, text) pairs, no text twice."""
    pairs = [(why, t) for why, texts in GROUPS for t in texts]
    pairs += [("mixed pieces", t) for t in mixed(extra, seed)]
    pairs += [("pairs of awkward neighbours", a + b) for a, b in itertools.islice(itertools.product(PIECES[3:9], PIECES[13:27]), 60)]
    seen, out = set(), []
    for why, t in pairs:
        if t not in seen:
            seen.add(t)
            out.append((why, t))
    return out
