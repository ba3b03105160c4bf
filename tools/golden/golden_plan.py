"""golden_plan.py - goldens of what is computed without weights: layouts, sigmas, token ids."""

import os

import torch
from transformers import AutoTokenizer

import stages
import texts
from diffusers import MiniMaxH3Scheduler

# Frames, width, height, text rows, anchors.
LAYOUTS = [
    (22, 64, 32, 7, ()), (22, 32, 64, 1, ()), (39, 96, 96, 12, ()), (90, 160, 96, 23, ()), (124, 64, 64, 0, ()),
    (345, 64, 32, 5, ()), (5, 96, 32, 3, ()), (22, 64, 96, 9, ("first",)), (90, 64, 32, 9, ("first", "last")),
    (379, 32, 32, 4, ("last",)),
]


def layouts(_paths, _seed):
    files = {}
    for frames, width, height, rows, anchors in LAYOUTS:
        plan, info = stages.layout(frames, width, height, torch.ones(rows, dtype=torch.long), anchors=anchors)
        tail = "_" + "_".join(anchors) if anchors else ""
        files[f"layout_{frames}_{width}x{height}_{rows}{tail}.safetensors"] = {
            **plan, "condition_rows": torch.tensor([info["condition_rows"]]), "latent_frames": torch.tensor([info["latents"]]),
            "audio_latents": torch.tensor([info["audio"]])}
    return files


def sigmas(_paths, _seed):
    """Values are f32, printed as the shortest decimals of their f64 images: reading them back is exact."""
    cases = []
    for steps in (2, 3, 5, 9, 20, 50):
        for shift in (12.0, 6.0, 3.0):
            sig, t = stages.sigmas(MiniMaxH3Scheduler(shift=shift), steps)
            cases.append({"steps": steps, "shift": shift, "sigmas": sig, "timesteps": t})
    return {"sigmas.json": {"format": "longtake-golden-sigmas", "version": 1, "cases": cases}}


def encode(folder, extra):
    tok = AutoTokenizer.from_pretrained(folder)
    return [{"why": why, "text": t, "ids": tok(t, add_special_tokens=False)["input_ids"]} for why, t in texts.all_texts(extra)]


def tokens(paths, _seed):
    cases = encode(os.path.join(paths["nano"], "tokenizer"), 60)
    return {"tokens.json": {"format": "longtake-golden-tokens", "version": 1, "tokenizer": "nano", "cases": cases}}


def tokens_h3(paths, _seed):
    """Only where the released tokenizer is at hand: --h3-tokenizer."""
    if not paths["h3_tokenizer"]:
        return {}
    cases = encode(paths["h3_tokenizer"], 220)
    return {"tokens_h3.json": {"format": "longtake-golden-tokens", "version": 1, "tokenizer": "MiniMax-H3", "cases": cases}}
