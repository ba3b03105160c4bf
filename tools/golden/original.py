"""original.py - the same tiny weights in MiniMax-H3's original layout (FL2VA/ of the release).

The DiT is written by inverting diffusers' own conversion and is converted back with it before it is
accepted. For the video VAE no conversion ships; its rules are the ones of the release's naming: per-head interleaved
qkv (weight and bias), [gate; up] in w1, a zero mask token. Structure goes where the original configs keep it,
and what they leave to the code (32 norm groups, 4 registers, ffn_mult 4, 8 audio heads, ...) is checked to
have the fixed value. The parts that are the same in both layouts are links into the f32 checkpoint beside it.
"""

import copy
import os

import torch
from diffusers import AutoencoderKLMiniMaxH3
from diffusers.loaders.single_file_utils import convert_minimax_h3_transformer_checkpoint_to_diffusers
from safetensors.torch import save_file

import bpe
import checkpoint
import sizes
from fill import fill

RENAMES = (
    ("token_refiner.refiner_blocks.", "token_refiner.blocks."), ("transformer_blocks.", "blocks."),
    ("time_embedder.linear_1.", "time_embedder.proj_in."), ("time_embedder.linear_2.", "time_embedder.proj_out."),
    ("audio_proj_in.", "audio_patch_proj."), ("context_embedder.", "condition_proj."),
    ("norm_out.norm.", "final_layer.norm."), ("norm_out.linear.", "final_layer.adaln_proj.linear."),
    ("audio_proj_out.", "final_layer.audio_out."), (".attn.norm_q.", ".attn.q_norm."), (".attn.norm_k.", ".attn.k_norm."),
    (".attn.to_out.0.", ".attn.out_proj."), (".ff.net.0.proj.", ".mlp.fc1."), (".ff.net.2.", ".mlp.fc2."),
)
TOP = {"proj_in.": "video_patch_proj.", "proj_out.": "final_layer.video_out."}


def swap_halves(x):
    first, second = x.chunk(2, dim=0)
    return torch.cat([second, first], dim=0)


def interleave(q, k, v, heads):
    """Rows [q_h; k_h; v_h] head by head; works for weights and biases."""
    return torch.stack([x.unflatten(0, (heads, -1)) for x in (q, k, v)], dim=1).flatten(0, 2)


def dit_state(state, config):
    out = {}
    for name, x in state.items():
        if ".attn.to_k." in name or ".attn.to_v." in name:
            continue
        if ".attn.to_q." in name:
            k, v = (state[name.replace("to_q", other)] for other in ("to_k", "to_v"))
            x, name = interleave(x, k, v, config["num_attention_heads"]), name.replace("to_q", "qkv_proj")
        if ".ff.net.0.proj." in name:
            x = swap_halves(x)
        for new, old in RENAMES:
            name = name.replace(new, old)
        for new, old in TOP.items():
            if name.startswith(new):
                name = old + name[len(new):]
        out[name] = x
    dim = config["rope_freq_dim"]
    exponent = torch.arange(0, 2 * dim, 2, dtype=torch.float32) / (2 * dim)
    out["rope.inv_freq"] = 1.0 / (config["rope_theta"] ** exponent)
    return out


def check_dit(state, original, config):
    back = convert_minimax_h3_transformer_checkpoint_to_diffusers(dict(original), config, qkv_layout="interleaved")
    if back.keys() != state.keys() or not all(torch.equal(back[k], state[k]) for k in state):
        raise RuntimeError("the original layout of the DiT does not convert back to what it was made of")


def vae_state(state, heads):
    out = {}
    for name, x in state.items():
        if ".attn.to_k." in name or ".attn.to_v." in name:
            continue
        if ".attn.to_q." in name:
            k, v = (state[name.replace("to_q", other)] for other in ("to_k", "to_v"))
            x, name = interleave(x, k, v, heads), name.replace("to_q", "to_qkv")
        if ".ff.net.0.proj." in name:
            x, name = swap_halves(x), name.replace(".ff.net.0.proj.", ".ff.w1.")
        name = name.replace(".ff.net.2.", ".ff.w2.").replace(".attn.to_out.0.", ".attn.to_out.")
        name = name.replace("decoder.proj_in.", "decoder.x_embedder.")
        if name.startswith("encoder.down_blocks."):
            name = name.replace("encoder.down_blocks.", "encoder.down.").replace(".resnets.", ".block.")
            name = name.replace(".conv_shortcut.", ".nin_shortcut.").replace(".downsamplers.0.", ".downsample.")
        out[name] = x
    out["decoder.mask_token"] = torch.zeros(1, 1, state["decoder.proj_in.weight"].shape[0])
    return out


def vae_config(family):
    return {**family["vae"], **sizes.ORIGINAL_ENCODER}


def vae_model(seed):
    """nano's decoder with an encoder of 32 channels, whose weights are stored in bf16 to keep the file small."""
    family = sizes.family("nano", seed)
    model = AutoencoderKLMiniMaxH3(**vae_config(family)).eval()
    fill(model, seed, "vae")
    for p in model.encoder.parameters():
        p.data = p.data.to(torch.bfloat16).float()
    return model


def dit_config(t):
    return {
        "_class_name": "MiniMaxH3DiTModel", "_diffusers_version": "0.32.2", "hidden_size": t["hidden_size"],
        "num_layers": t["num_layers"], "token_refiner_num_layers": t["num_refiner_layers"],
        "num_attention_heads": t["num_attention_heads"], "attention_head_dim": t["attention_head_dim"],
        "ffn_hidden_size": t["ffn_dim"], "latents_dim": t["in_channels"], "audio_latents_dim": t["audio_in_channels"],
        "patch_size": list(t["patch_size"]), "text_dim": t["text_dim"], "timestep_input_dim": t["freq_dim"],
        "time_embed_hidden_size": t["time_embed_hidden_dim"], "time_embed_dim": t["time_embed_dim"],
        "adaln_out_features": 18 * t["hidden_size"], "final_adaln_out_features": 2 * t["hidden_size"],
        "rope_inv_freq_len": t["rope_freq_dim"], "norm_eps": t["norm_eps"], "qk_norm_eps": t["qk_norm_eps"],
        "final_norm_eps": t["final_norm_eps"]}


def vae_source_config(v):
    base = v["block_out_channels"][0]
    return {
        "_class_name": "AutoencoderKLLegacy", "_diffusers_version": "0.32.2", "causal_decoder": False,
        "causal_encoder": True, "ch": base, "ch_mult": [c // base for c in v["block_out_channels"]],
        "embed_dim": v["latent_channels"], "in_channels": v["in_channels"], "num_res_blocks": v["layers_per_block"],
        "num_res_blocks_decoder": None, "out_ch": v["out_channels"], "padding_mode": v["spatial_padding_mode"],
        "padding_mode_t": None, "pixel_norm_type": "imagenet", "scaling_factor": 1.0, "shift_factor": 0.0,
        "space_down": list(v["spatial_downsample_factors"]), "space_up": [1, 2, 2, 2], "time_up": None,
        "time_down": list(v["temporal_downsample_factors"]), "use_3d_conv": True, "use_t_isolated_gn": True,
        "use_vit_decoder": True, "vae_ratio": 16, "vae_ratio_t": 4, "z_channels": v["latent_channels"],
        "vit_decoder_kwargs": {
            "dim_head": v["decoder_attention_head_dim"], "ffn_activation_fn": "silu", "ffn_use_gated": True,
            "heads": v["decoder_num_attention_heads"], "norm_affine": True, "norm_type": "rms_norm",
            "num_layers": v["decoder_num_layers"], "qk_norm_affine": False, "qk_norm_type": "rms_norm",
            "rope_dim_ratio": v["decoder_rope_dim_ratio"], "rope_theta": v["decoder_rope_theta"]},
        "zq_ch_decoder": None, "zq_ch_encoder": None}


def vae_outer_config(v):
    return {
        "_class_name": "MiniMaxH3VideoVAE", "_diffusers_version": "0.32.2", "mode": "standalone",
        "source_path": "source", "source_class_name": "AutoencoderKLLegacy", "vae_clip_length": v["clip_length"],
        "vae_token_drop": v["token_drop"], "vae_encoder_tiling": 1, "vae_decoder_tiling": 1, "vae_parallel_tiling": 1,
        "vae_tile_size": 256, "vae_tile_overlap_min": 64, "vae_encoder_parallel": 0, "vae_decoder_parallel": 0,
        "vae_chunk_dim": -1, "source_safetensors_path": "model.safetensors", "latent_channels": v["latent_channels"],
        "latents_mean": v["latents_mean"], "latents_std": v["latents_std"]}


def write_audio(folder, a):
    os.makedirs(folder)
    bpe.write_json(os.path.join(folder, "metadata.json"), {"metadata": {"kwargs": {
        "attn_proj": True, "decoder_dim": a["decoder_dim"], "decoder_rates": list(a["decoder_rates"]),
        "decoder_type": "bigvgan", "encoder_dim": a["encoder_dim"], "encoder_rates": list(a["encoder_rates"]),
        "latent_dim": a["latent_dim"], "sample_rate": a["sampling_rate"], "vae_latent_channels": a["latent_channels"]}}})
    bpe.write_json(os.path.join(folder, "config.json"), {
        "_class_name": "MiniMaxH3AudioVAE", "_diffusers_version": "0.32.2", "output_channel": 2,
        "sample_rate": a["sampling_rate"], "source_config_path": "config.yaml",
        "source_safetensors_path": "model.safetensors", "source_metadata_path": "metadata.json",
        "latent_channels": a["latent_channels"], "latents_mean": a["latents_mean"], "latents_std": a["latents_std"]})


def check_fixed(family):
    """The original layout cannot say these; a family that differs has no original form."""
    t, v, a = family["transformer"], vae_config(family), family["audio_vae"]
    fixed = {
        "rope_theta": (t["rope_theta"], 10000.0), "norm_num_groups": (v["norm_num_groups"], 32),
        "registers": (v["decoder_num_register_tokens"], 4), "ffn_mult": (v["decoder_ffn_mult"], 4),
        "vae eps": ((v["norm_eps"], v["decoder_norm_eps"]), (1e-6, 1e-5)), "audio heads": (a["num_attention_heads"], 8),
        "kernels": (a["decoder_kernel_sizes"], tuple(2 * r - r % 2 for r in a["decoder_rates"])),
        "resblocks": (a["resblock_kernel_sizes"], (3, 7, 11)),
        "dilations": (a["resblock_dilation_sizes"], ((1, 3, 5),) * 3)}
    for name, (found, want) in fixed.items():
        if found != want:
            raise ValueError(f"{name} is {found}: the original layout fixes it at {want}")


def write_dit(folder, model, config):
    """Two shards and an index, as the release has thirteen."""
    state = {k: v.detach() for k, v in model.state_dict().items()}
    out = dit_state(state, config)
    check_dit(state, out, config)
    os.makedirs(folder)
    names, shards = sorted(out), ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
    where = {n: shards[i * 2 // len(names)] for i, n in enumerate(names)}
    for shard in shards:
        save_file({n: out[n].contiguous().clone() for n in names if where[n] == shard}, os.path.join(folder, shard),
                  metadata={"format": "pt"})
    total = sum(x.numel() * x.element_size() for x in out.values())
    bpe.write_json(os.path.join(folder, "model.safetensors.index.json"),
                   {"metadata": {"total_size": total}, "weight_map": where})
    bpe.write_json(os.path.join(folder, "config.json"), dit_config(config))


def write(folder, family, seed):
    check_fixed(family)
    checkpoint.clear(folder)
    family, nano = copy.deepcopy(family), os.path.join(os.path.dirname(os.path.abspath(folder)), "nano")
    if not os.path.isdir(nano):
        raise FileNotFoundError(f"{nano}: write the f32 checkpoint there first, the original layout links to it")
    write_dit(os.path.join(folder, "transformer"), checkpoint.build(family, seed)["transformer"], family["transformer"])
    vae, v = vae_model(seed), vae_config(family)
    source = os.path.join(folder, "video_vae", "source")
    os.makedirs(source)
    state = vae_state({k: x.detach() for k, x in vae.state_dict().items()}, v["decoder_num_attention_heads"])
    save_file({k: (x.to(torch.bfloat16) if k.startswith("encoder.") else x).contiguous().clone() for k, x in state.items()},
              os.path.join(source, "model.safetensors"), metadata={"format": "pt"})
    bpe.write_json(os.path.join(source, "config.json"), vae_source_config(v))
    bpe.write_json(os.path.join(folder, "video_vae", "config.json"), vae_outer_config(v))
    write_audio(os.path.join(folder, "audio_vae"), family["audio_vae"])
    checkpoint.link(folder, "audio_vae/model.safetensors", nano, "audio_vae/diffusion_pytorch_model.safetensors")
    for part in ("text_encoder", "tokenizer", "processor"):
        checkpoint.link(folder, part, nano, part)
    bpe.write_json(os.path.join(folder, "model_index.json"), {
        "_class_name": "MiniMaxH3Pipeline", "_diffusers_version": "0.32.2",
        "text_encoder": ["transformers", "MiniMaxH3Qwen3VLHFEncoder"], "tokenizer": ["transformers", "Qwen2TokenizerFast"],
        "video_vae": ["diffusers", "MiniMaxH3VideoVAE"], "audio_vae": ["diffusers", "MiniMaxH3AudioVAE"], "scheduler": None,
        "transformer": ["diffusers", "MiniMaxH3DiTModel"], "processor": ["transformers", "Qwen3VLProcessor"],
        "_minimax_h3": {"schema_version": 1, "partition": "fl2va", "tasks": ["t2va", "fl2va"], "task_aliases": {},
                        "sigma_shift_scales": {"video": family["shift"], "audio": family["audio_shift"]}}})
