#!/usr/bin/env python3
"""make.py - tiny random MiniMax-H3 checkpoints and golden tensors, made with the published Python.

    make.py --out DIR [--variant f32|bf16|original|alt|alt-bf16] [--seed N]    one checkpoint folder
    make.py --all tests/parity                                  what is committed: nano, nano-bf16, nano-original, golden

bf16 and alt-bf16 have the released dtypes. The committed nano-bf16 and nano-original link to nano for the parts
that are the same; `--variant original` needs an f32 checkpoint named nano beside DIR for that. README.md beside this file says how to make the environment.
"""

import argparse
import os
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import torch  # noqa: E402

VARIANTS = ("f32", "bf16", "original", "alt", "alt-bf16")


def write_variant(out, variant, seed, shared=None):
    import checkpoint
    import sizes
    family = sizes.family("alt" if variant.startswith("alt") else "nano", seed)
    if variant == "original":
        import original
        return original.write(out, family, seed)
    dtype = "bfloat16" if variant.endswith("bf16") else "float32"
    return checkpoint.write(out, family, seed, dtype, shared)


def main():
    ap = argparse.ArgumentParser(description="Make tiny MiniMax-H3 checkpoints and golden tensors.")
    ap.add_argument("--out", help="folder of one checkpoint")
    ap.add_argument("--variant", choices=VARIANTS, default="f32")
    ap.add_argument("--all", metavar="DIR", help="write everything that tests/parity holds into DIR")
    ap.add_argument("--only", help="with --all: names of golden groups, comma separated; no checkpoints then")
    ap.add_argument("--h3-tokenizer", metavar="DIR", help="folder of the released tokenizer, for tokens_h3.json")
    ap.add_argument("--seed", type=int, default=2026)
    args = ap.parse_args()
    if not args.out and not args.all:
        ap.error("--out or --all is needed")
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True, warn_only=True)
    if args.out:
        write_variant(args.out, args.variant, args.seed)
    if args.all:
        import goldens
        if not args.only:
            nano = os.path.join(args.all, "nano")
            write_variant(nano, "f32", args.seed)
            write_variant(os.path.join(args.all, "nano-bf16"), "bf16", args.seed, nano)
            write_variant(os.path.join(args.all, "nano-original"), "original", args.seed)
        goldens.write(args.all, args.seed, args.only.split(",") if args.only else None, args.h3_tokenizer)


if __name__ == "__main__":
    main()
