"""checkpoint.py - writes a tiny checkpoint as the published folders are laid out (diffusers layout)."""

import os
import shutil

import torch
from diffusers import (AutoencoderKLMiniMaxH3, AutoencoderKLMiniMaxH3Audio, MiniMaxH3Scheduler,
                       MiniMaxH3Transformer3DModel)
from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

import bpe
import sizes
from fill import fill

COMPONENTS = {
    "text_encoder": ("transformers", "Qwen3VLForConditionalGeneration"),
    "tokenizer": ("transformers", "Qwen2TokenizerFast"),
    "processor": ("transformers", "Qwen3VLProcessor"),
    "vae": ("diffusers", "AutoencoderKLMiniMaxH3"),
    "audio_vae": ("diffusers", "AutoencoderKLMiniMaxH3Audio"),
    "transformer": ("diffusers", "MiniMaxH3Transformer3DModel"),
    "scheduler": ("diffusers", "MiniMaxH3Scheduler"),
    "audio_scheduler": ("diffusers", "MiniMaxH3Scheduler"),
}


def text_config(family):
    """config.json of the text encoder, with the released file's fields."""
    t, v, ids = family["text"], family["vision"], bpe.special_ids(family["merges"])
    rope = {"mrope_interleaved": True, "mrope_section": t["mrope_section"], "rope_type": "default"}
    text = {k: t[k] for k in ("head_dim", "hidden_size", "intermediate_size", "num_attention_heads",
                              "num_hidden_layers", "num_key_value_heads", "rms_norm_eps", "rope_theta",
                              "vocab_size")}
    return {
        "architectures": ["Qwen3VLForConditionalGeneration"], "model_type": "qwen3_vl",
        "image_token_id": ids["<|image_pad|>"], "video_token_id": ids["<|video_pad|>"],
        "vision_start_token_id": ids["<|vision_start|>"], "vision_end_token_id": ids["<|vision_end|>"],
        "tie_word_embeddings": False,
        "text_config": {
            **text, "attention_bias": False, "attention_dropout": 0.0, "bos_token_id": ids["<|endoftext|>"],
            "eos_token_id": ids["<|im_end|>"], "hidden_act": "silu", "initializer_range": 0.02,
            "max_position_embeddings": 4096, "model_type": "qwen3_vl_text", "rope_scaling": rope, "use_cache": True},
        "vision_config": {**v, "out_hidden_size": t["hidden_size"], "hidden_act": "gelu_pytorch_tanh",
                          "initializer_range": 0.02, "model_type": "qwen3_vl"}}


def build(family, seed):
    """The four networks of a family in f32, deterministic in (family, seed)."""
    config = text_config(family)
    text = Qwen3VLForConditionalGeneration(Qwen3VLConfig(**{k: v for k, v in config.items() if k != "architectures"}))
    return {
        "transformer": fill(MiniMaxH3Transformer3DModel(**family["transformer"]), seed, "transformer").eval(),
        "text_encoder": fill(text.float(), seed, "text_encoder").eval(),
        "vae": fill(AutoencoderKLMiniMaxH3(**family["vae"]), seed, "vae").eval(),
        "audio_vae": fill(AutoencoderKLMiniMaxH3Audio(**family["audio_vae"]), seed, "audio_vae").eval(),
    }


def to_released_dtypes(models):
    """bf16 as released: the text encoder whole, the DiT but for its twelve f32 tensors; VAEs stay f32."""
    for name, p in models["transformer"].named_parameters():
        if not name.startswith(sizes.FLOAT32):
            p.data = p.data.to(torch.bfloat16)
    models["text_encoder"].to(torch.bfloat16)
    return models


def write_text_encoder(model, family, dtype, folder, shard):
    """save_pretrained splits the shards; config.json is then replaced by one with the released fields."""
    model.save_pretrained(folder, max_shard_size=shard, safe_serialization=True)
    config = text_config(family)
    config["text_config"]["dtype"] = dtype
    bpe.write_json(os.path.join(folder, "config.json"), config)
    for extra in ("generation_config.json",):
        path = os.path.join(folder, extra)
        if os.path.exists(path):
            os.remove(path)


def write_processor(folder):
    picture = {"patch_size": 16, "temporal_patch_size": 2, "merge_size": 2, "image_mean": [0.5] * 3,
               "image_std": [0.5] * 3, "processor_class": "Qwen3VLProcessor"}
    os.makedirs(folder, exist_ok=True)
    bpe.write_json(os.path.join(folder, "preprocessor_config.json"), {
        "size": {"longest_edge": 16777216, "shortest_edge": 65536}, **picture,
        "image_processor_type": "Qwen2VLImageProcessorFast"})
    bpe.write_json(os.path.join(folder, "video_preprocessor_config.json"), {
        "size": {"longest_edge": 25165824, "shortest_edge": 4096}, **picture,
        "video_processor_type": "Qwen3VLVideoProcessor"})


def write_index(folder, location):
    index = {"_class_name": "MiniMaxH3ModularPipeline", "_diffusers_version": "0.42.1",
             "_blocks_class_name": "MiniMaxH3Blocks"}
    for name, (library, cls) in COMPONENTS.items():
        index[name] = [library, cls, {"type_hint": [library, cls], "pretrained_model_name_or_path": location,
                                      "subfolder": name, "variant": None, "revision": None}]
    for name in ("modular_model_index.json", "model_index.json"):
        bpe.write_json(os.path.join(folder, name), index)


def clear(folder):
    """Remove what an earlier run left, since stale shards beside a new index would be read as extra."""
    for name in (*COMPONENTS, "video_vae"):
        path = os.path.join(folder, name)
        if os.path.islink(path):
            os.remove(path)
        else:
            shutil.rmtree(path, ignore_errors=True)


def link(folder, name, other, target):
    """folder/name becomes a relative link to other/target: two committed checkpoints share one file."""
    path = os.path.join(folder, name)
    where = os.path.relpath(os.path.join(other, target), os.path.dirname(os.path.abspath(path)))
    os.symlink(where, path)


def open_modes(folder):
    """save_pretrained writes files that only the owner may read; git does not care, copies do."""
    for where, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(where, name)
            if not os.path.islink(path):
                os.chmod(path, 0o644)


def write(folder, family, seed, dtype="float32", shared=None):
    """Write a checkpoint folder. With `shared`, all but the two parts whose dtype differs are links to it."""
    clear(folder)
    models = build(family, seed)
    if dtype == "bfloat16":
        to_released_dtypes(models)
    shard = family["shard_bytes"]
    for part in ("transformer",) if shared else ("transformer", "vae", "audio_vae"):
        models[part].save_pretrained(os.path.join(folder, part), max_shard_size=shard.get(part, "10GB"),
                                     safe_serialization=True)
    write_text_encoder(models["text_encoder"], family, dtype, os.path.join(folder, "text_encoder"), shard["text_encoder"])
    for part, shift in (("scheduler", family["shift"]), ("audio_scheduler", family["audio_shift"])):
        MiniMaxH3Scheduler(shift=shift).save_config(os.path.join(folder, part))
    write_index(folder, os.path.basename(os.path.abspath(folder)))
    if shared:
        for part in ("vae", "audio_vae", "tokenizer", "processor"):
            link(folder, part, shared, part)
    else:
        bpe.write(os.path.join(folder, "tokenizer"), family["merges"])
        write_processor(os.path.join(folder, "processor"))
    open_modes(folder)
