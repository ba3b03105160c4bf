"""stages.py - every stage of MiniMax-H3 as diffusers and transformers compute it.

One function a stage, under the names of `longtake probe`: tensors in as numpy-free torch tensors without the
batch axis, tensors out the same way. `dtype` is "f32" (all weights and activations f32, whatever is stored)
or "bf16" (what loading with that dtype gives: twelve f32 tensors in the DiT, VAEs f32).
"""

import os

import torch
from diffusers import (AutoencoderKLMiniMaxH3, AutoencoderKLMiniMaxH3Audio, MiniMaxH3Scheduler,
                       MiniMaxH3Transformer3DModel)
from diffusers.modular_pipelines import PipelineState
from diffusers.modular_pipelines.minimax_h3 import before_denoise, decoders, denoise as loop
from diffusers.modular_pipelines.minimax_h3.modular_pipeline import audio_latent_num_frames, video_latent_num_frames
from transformers import Qwen3VLForConditionalGeneration

TORCH = {"f32": torch.float32, "bf16": torch.bfloat16}
LAYOUT = ("position_ids", "token_tags", "video_indices", "audio_indices", "text_indices")
TEXT_LAYER = 50


def load_dit(folder, dtype):
    model = MiniMaxH3Transformer3DModel.from_pretrained(folder, subfolder="transformer", torch_dtype=TORCH[dtype]).eval()
    want = 12 if dtype == "bf16" else len(model.state_dict())
    found = sum(p.dtype == torch.float32 for p in model.state_dict().values())
    if found != want:
        raise RuntimeError(f"{folder}: {found} f32 tensors in the DiT, want {want}")
    return model


def load_text(folder, dtype):
    model = Qwen3VLForConditionalGeneration.from_pretrained(os.path.join(folder, "text_encoder"), dtype=TORCH[dtype])
    return model.eval()


def load_vae(folder):
    return AutoencoderKLMiniMaxH3.from_pretrained(folder, subfolder="vae", torch_dtype=torch.float32).eval()


def load_audio_vae(folder):
    return AutoencoderKLMiniMaxH3Audio.from_pretrained(folder, subfolder="audio_vae", torch_dtype=torch.float32).eval()


def load_scheduler(folder, name):
    return MiniMaxH3Scheduler.from_pretrained(folder, subfolder=name)


@torch.no_grad()
def dit(model, inputs, taps=None):
    """One forward. `taps`, if given, receives the rows after the refiner and after block 0."""
    hooks = []
    if taps is not None:
        for name, module in (("refined_text", model.token_refiner), ("block_0", model.transformer_blocks[0])):
            hooks.append(module.register_forward_hook(
                lambda _m, _i, out, name=name: taps.__setitem__(name, out[0].float().clone())))
    rows = {k: inputs[k][None] for k in ("hidden_states", "audio_hidden_states", "encoder_hidden_states")}
    rest = {k: inputs[k] for k in ("timestep", "timestep_indices", *LAYOUT)}
    video, audio = model(**rows, **rest, return_dict=False)
    for hook in hooks:
        hook.remove()
    return {"sample": video[0].float(), "audio_sample": audio[0].float()}


@torch.no_grad()
def text(model, ids):
    """Hidden state 50 of the language model, before any norm, as f32 [L, D]."""
    ids = ids[None]
    out = model.model(input_ids=ids, attention_mask=torch.ones_like(ids), mm_token_type_ids=torch.zeros_like(ids),
                      use_cache=False, output_hidden_states=True)
    return {"hidden_states": out.hidden_states[TEXT_LAYER][0].float()}


@torch.no_grad()
def vae_decode(model, latents):
    return {"sample": model.decode(latents[None]).sample[0]}


@torch.no_grad()
def vae_encode(model, sample):
    """Raw output of quant_conv, before DiagonalGaussianDistribution clamps anything."""
    return {"moments": model._encode(sample[None])[0]}


@torch.no_grad()
def audio_decode(model, latents):
    return {"sample": model.decode(latents).sample}


@torch.no_grad()
def audio_encode(model, sample):
    return {"mean": model.encode(sample).latent_dist.mode()}


def layout(frames, width, height, text_tags, ratio=16, clip_length=17, chunk=5, patch=(1, 2, 2), anchors=()):
    """The pipeline's packed layout for a t2va request (fl2va with `anchors`), and its sizes."""
    latents = video_latent_num_frames(frames, clip_length, chunk)
    audio = audio_latent_num_frames(frames)
    made = before_denoise.MiniMaxH3PrepareLayoutStep.build_packed_sequence(
        text_tags, latents, height // ratio, width // ratio, audio, patch, 2, 2, 0, anchors)
    return dict(zip(LAYOUT, made)), {"latents": latents, "audio": audio, "condition_rows": made[5]}


def row_timesteps(plan, condition_rows, video_t, audio_t):
    """(timestep, timestep_indices) of one step, by the pipeline's own function."""
    return before_denoise.MiniMaxH3SetTimestepsStep.build_row_timesteps(
        plan["video_indices"], plan["audio_indices"], condition_rows, 0, plan["text_indices"].numel(),
        float(video_t), float(audio_t), max(float(video_t), 0.999), 1.0)


def sigmas(scheduler, steps):
    scheduler.set_timesteps(steps)
    return scheduler.sigmas.tolist(), scheduler.timesteps.tolist()


class Components:
    """What the pipeline's blocks read from their pipeline, without a pipeline's loading and offloading."""

    _execution_device = torch.device("cpu")
    audio_channels, keyframe_noise_aug = 2, 0.999

    def __init__(self, model, scheduler, audio_scheduler):
        self.transformer, self.scheduler, self.audio_scheduler = model, scheduler, audio_scheduler
        self.patch_size = tuple(model.config.patch_size)
        self.vae_latent_channels = model.config.in_channels
        self.audio_latent_channels = model.config.audio_in_channels


@torch.no_grad()
def denoise(model, scheduler, audio_scheduler, latents, audio_latents, embeds, steps):
    """The pipeline's own blocks from injected noise to final latents, t2va."""
    _, count, height, width = latents.shape
    plan, _ = layout((count - 2) // 5 * 17 + 5, width * 16, height * 16, torch.ones(embeds.shape[0], dtype=torch.long),
                     patch=tuple(model.config.patch_size))
    state = PipelineState()
    for name, value in plan.items():
        state.set(name, value, "denoiser_input_fields")
    dtype = model.context_embedder.weight.dtype
    for name, value in {
            "latents": latents[None].clone(), "audio_latents": audio_latents.clone(), "num_latent_frames": count,
            "latent_height": height, "latent_width": width, "num_audio_latents": audio_latents.shape[-1],
            "prompt_embeds": embeds[None].to(dtype), "num_inference_steps": steps, "num_condition_video_rows": 0,
            "num_condition_audio_rows": 0}.items():
        state.set(name, value)
    components = Components(model, scheduler, audio_scheduler)
    steps_block = loop.MiniMaxH3DenoiseStep()
    steps_block.set_progress_bar_config(disable=True)
    for block in (before_denoise.MiniMaxH3PrepareLatentsStep(), before_denoise.MiniMaxH3SetTimestepsStep(), steps_block,
                  decoders.MiniMaxH3AfterDenoiseStep()):
        components, state = block(components, state)
    return {"latents": state.get("latents")[0], "audio_latents": state.get("audio_latents")}
