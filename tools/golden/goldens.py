"""goldens.py - writes the golden files and their manifest; the groups themselves are in golden_*.py."""

import hashlib
import json
import os
import platform

import torch
from safetensors.torch import save_file

import bpe
import golden_net
import golden_plan
import golden_vae

# Group name -> function(paths, seed) -> {file name: tensors (a .safetensors file) or anything else (a JSON file)}.
GROUPS = {
    "dit": golden_net.dit, "text": golden_net.text, "denoise": golden_net.denoise,
    "vae": golden_vae.video, "audio": golden_vae.audio, "original": golden_vae.original,
    "layout": golden_plan.layouts, "sigmas": golden_plan.sigmas, "tokens": golden_plan.tokens,
    "tokens_h3": golden_plan.tokens_h3,
}


def versions():
    import diffusers
    import numpy
    import safetensors
    import tokenizers
    import transformers
    found = {m.__name__: m.__version__ for m in (torch, diffusers, transformers, tokenizers, numpy, safetensors)}
    return {"python": platform.python_version(), **found}


def write_cases(path, thing):
    """JSON with one case a line: short, and a difference in git shows the case."""
    head = ", ".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in thing.items() if k != "cases")
    lines = ",\n".join(json.dumps(c, ensure_ascii=True) for c in thing["cases"])
    with open(path, "w", encoding="utf-8") as f:
        f.write("{" + head + ', "cases": [\n' + lines + "\n]}\n")


def save(path, thing):
    if path.endswith(".safetensors"):
        save_file({k: v.contiguous().clone() for k, v in thing.items()}, path)
    else:
        write_cases(path, thing)
    os.chmod(path, 0o644)


def describe(path):
    """One manifest entry: size, hash, and the tensors' shapes, so that the manifest can be read alone."""
    with open(path, "rb") as f:
        data = f.read()
    entry = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    if path.endswith(".safetensors"):
        header = json.loads(data[8:8 + int.from_bytes(data[:8], "little")])
        entry["tensors"] = {k: f"{v['dtype']} {v['shape']}" for k, v in header.items() if k != "__metadata__"}
    return entry


def write(root, seed, only=None, h3_tokenizer=None):
    """Write the groups (all, or those in `only`) into root/golden, and a manifest of all that lies there."""
    paths = {"nano": os.path.join(root, "nano"), "bf16": os.path.join(root, "nano-bf16"),
             "original": os.path.join(root, "nano-original"), "h3_tokenizer": h3_tokenizer}
    out = os.path.join(root, "golden")
    os.makedirs(out, exist_ok=True)
    for name, group in GROUPS.items():
        if only and name not in only:
            continue
        for file, thing in group(paths, seed).items():
            save(os.path.join(out, file), thing)
            print(f"{name}: {file}")
    files = {n: describe(os.path.join(out, n)) for n in sorted(os.listdir(out)) if n != "manifest.json"}
    bpe.write_json(os.path.join(out, "manifest.json"), {
        "format": "longtake-goldens", "version": 1, "seed": seed, "command": "tools/golden/make.py --all tests/parity",
        "versions": versions(), "files": files})
