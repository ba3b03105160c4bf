"""cases.py - what is timed: models, inputs and the two ways to run them.

A case is one stage of one model in one dtype. `inputs` are the tensors of `longtake probe STAGE`; `theirs`
makes the call of diffusers that computes the same (tools/golden/stages.py, as the golden tensors do).
"""

import os
import sys

import torch

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "tools", "golden"))

import bpe  # noqa: E402
import checkpoint  # noqa: E402
import golden_net  # noqa: E402
import sizes  # noqa: E402
import stages  # noqa: E402
from fill import normal  # noqa: E402

SEED = 2026
DEMO = os.path.join(HERE, "..", "models", "demo")
FILM_POINTS = 21        # 20 evaluations: the demo model's default

# A mid-size H3: wide enough that matrices, not calls, take the time, small enough for two cores and 8 GB.
MID = {
    **sizes.NANO,
    "transformer": dict(
        num_attention_heads=8, attention_head_dim=128, hidden_size=1024, num_layers=12, num_refiner_layers=2,
        ffn_dim=2816, in_channels=24, audio_in_channels=32, patch_size=(1, 2, 2), text_dim=1024, freq_dim=256,
        time_embed_hidden_dim=1024, time_embed_dim=512, rope_freq_dim=16, rope_theta=10000.0,
        norm_eps=1e-5, qk_norm_eps=1e-5, final_norm_eps=1e-5),
    "text": dict(
        hidden_size=1024, num_hidden_layers=52, num_attention_heads=8, num_key_value_heads=2, head_dim=128,
        intermediate_size=2816, rms_norm_eps=1e-6, rope_theta=5000000.0, mrope_section=[24, 20, 20], vocab_size=2048),
    "vae": dict(
        in_channels=3, out_channels=3, latent_channels=24, block_out_channels=(8, 8, 16, 16, 16, 16),
        layers_per_block=1, spatial_downsample_factors=(2, 2, 2, 2, 1, 1),
        temporal_downsample_factors=(1, 2, 2, 1, 1, 1), norm_num_groups=2, norm_eps=1e-6,
        spatial_padding_mode="reflect", decoder_num_layers=12, decoder_num_attention_heads=16,
        decoder_attention_head_dim=64, decoder_num_register_tokens=4, decoder_ffn_mult=4,
        decoder_rope_theta=100.0, decoder_rope_dim_ratio=0.75, decoder_norm_eps=1e-5, clip_length=17, token_drop=3),
    "audio_vae": dict(
        encoder_dim=4, encoder_rates=(2, 4, 4, 5, 5), latent_dim=128, latent_channels=32, num_attention_heads=8,
        decoder_dim=512, decoder_rates=(5, 5, 2, 2, 2, 2, 2), decoder_kernel_sizes=(9, 9, 4, 4, 4, 4, 4),
        resblock_kernel_sizes=(3, 7, 11), resblock_dilation_sizes=((1, 3, 5), (1, 3, 5), (1, 3, 5)),
        sampling_rate=32000),
    "shard_bytes": {"transformer": "10GB", "text_encoder": "10GB", "vae": "10GB"},
}


def mid_family():
    family = {k: dict(v) if isinstance(v, dict) else v for k, v in MID.items()}
    for which, part in enumerate(("vae", "audio_vae")):
        mean, std = sizes.statistics(SEED, which, family[part]["latent_channels"])
        family[part].update(latents_mean=mean, latents_std=std)
    return family


def make_mid(work):
    """The two mid-size checkpoints (f32, and the released dtypes), made once: 3 GB."""
    made = {}
    for dtype in ("float32", "bfloat16"):
        folder = os.path.join(work, "mid-" + dtype)
        if not os.path.exists(os.path.join(folder, "complete")):
            checkpoint.write(folder, mid_family(), SEED, dtype, made.get("float32"))
            open(os.path.join(folder, "complete"), "w", encoding="utf-8").close()
        made[dtype] = folder
    return made


class Case:
    def __init__(self, model, stage, dtype, folder, detail):
        self.model, self.stage, self.dtype, self.folder, self.detail = model, stage, dtype, folder, detail
        self.name = f"{model} {stage}"

    def inputs(self, model):
        """The probe's tensors by name. `model` is theirs: its config gives the widths."""
        c, d = model.config, self.detail
        if self.stage == "text":
            return {"input_ids": golden_net.token_ids(SEED, "bench", d["tokens"], c.text_config.vocab_size)}
        if self.stage == "dit":
            return golden_net.dit_inputs(c, SEED, "bench", d["frames"], *d["size"], d["rows"], (), (0.3, 0.7))
        if self.stage == "denoise":
            return golden_net.denoise_inputs(c, SEED, d["frames"], *d["size"], d["rows"])
        if self.stage == "vae-decode":
            width, height = d["size"]
            latent = (d["frames"] - 5) // 17 * 5 + 2
            return {"latents": normal(SEED, "bench.z", (c.latent_channels, latent, height // 16, width // 16))}
        return {"latents": normal(SEED, "bench.a", (2, c.latent_channels, d["ticks"]))}

    def load(self, dtype=None):
        dtype = dtype or self.dtype
        if self.stage == "text":
            return stages.load_text(self.folder, dtype)
        if self.stage in ("dit", "denoise"):
            return stages.load_dit(self.folder, dtype)
        return stages.load_vae(self.folder) if self.stage == "vae-decode" else stages.load_audio_vae(self.folder)

    def theirs(self, model, x):
        if self.stage == "text":
            return stages.text(model, x["input_ids"])
        if self.stage == "dit":
            return stages.dit(model, x)
        if self.stage == "denoise":
            shifts = [stages.load_scheduler(self.folder, n) for n in ("scheduler", "audio_scheduler")]
            return stages.denoise(model, *shifts, x["latents"], x["audio_latents"], x["encoder_hidden_states"],
                                  self.detail["points"])
        decode = stages.vae_decode if self.stage == "vae-decode" else stages.audio_decode
        return decode(model, x["latents"])

    def flags(self):
        flags = ["--model", self.folder]
        if self.stage in ("text", "dit", "denoise"):
            flags += ["--dtype", self.dtype]
        return flags + (["--steps", str(self.detail["points"])] if self.stage == "denoise" else [])


def all_cases(work, groups):
    """Every case of the asked-for groups ("demo", "mid"); VAEs are f32 in both programs."""
    out = []
    if "demo" in groups:
        film = {"frames": 90, "size": (128, 128), "rows": 24}
        for dtype in ("f32", "bf16"):
            out.append(Case("demo", "text", dtype, DEMO, {"tokens": 24}))
            out.append(Case("demo", "dit", dtype, DEMO, film))
            out.append(Case("demo", "denoise", dtype, DEMO, {**film, "points": FILM_POINTS}))
        out.append(Case("demo", "vae-decode", "f32", DEMO, film))
        out.append(Case("demo", "audio-decode", "f32", DEMO, {"ticks": 150}))
    if "mid" in groups:
        folders = make_mid(work)
        step = {"frames": 124, "size": (384, 256), "rows": 64}     # 4,030 packed rows
        for dtype, kind in (("f32", "float32"), ("bf16", "bfloat16")):
            out.append(Case("mid", "text", dtype, folders[kind], {"tokens": 200}))
            out.append(Case("mid", "dit", dtype, folders[kind], step))
        out.append(Case("mid", "vae-decode", "f32", folders["float32"], {"frames": 39, "size": (256, 256)}))
        out.append(Case("mid", "audio-decode", "f32", folders["float32"], {"ticks": 85}))
    return out


def flops(case, model, x):
    """(matrix products', attention's) operations of one DiT forward, blocks alone; (0, 0) where we do not count."""
    if case.stage != "dit":
        return 0.0, 0.0
    c, rows = model.config, x["position_ids"].shape[0]
    inner = c.num_attention_heads * c.attention_head_dim
    products = 2.0 * rows * (4 * c.hidden_size * inner + 3 * c.hidden_size * c.ffn_dim)
    return c.num_layers * products, c.num_layers * 4.0 * rows * rows * inner
