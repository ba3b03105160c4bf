"""golden_net.py - goldens of the text encoder, the DiT and the denoising loop."""

import torch

import stages
from fill import normal

# Frames, width, height, text rows, anchors, (video t, audio t), why the case is there.
DIT_CASES = {
    "": (22, 64, 32, 21, (), (0.3, 0.7), "two timesteps, all three modalities, wide canvas"),
    "_single": (22, 32, 64, 1, (), (0.0, 0.0), "first step: one timestep only; one text row; tall canvas"),
    "_anchors": (22, 64, 64, 9, ("first", "last"), (0.25, 0.5), "three timesteps; condition rows; text rows tagged video"),
    "_wide": (39, 96, 96, 33, (), (0.8, 0.6), "271 rows: more than one row block; audio t below video t"),
}


def dit_inputs(config, seed, name, frames, width, height, rows, anchors, times):
    """Inputs of one forward under the probe's names; normals for latents, wider normals for text rows."""
    tags = torch.ones(rows, dtype=torch.long)
    if anchors:
        tags[2:6] = 0
    plan, info = stages.layout(frames, width, height, tags, patch=tuple(config.patch_size), anchors=anchors)
    timestep, index = stages.row_timesteps(plan, info["condition_rows"], *times)
    video = config.in_channels * config.patch_size[1] * config.patch_size[2]
    return {
        "hidden_states": normal(seed, f"dit{name}.video", (plan["video_indices"].numel(), video)),
        "audio_hidden_states": normal(seed, f"dit{name}.audio", (plan["audio_indices"].numel(), config.audio_in_channels)),
        "encoder_hidden_states": 3.0 * normal(seed, f"dit{name}.text", (rows, config.text_dim)),
        "timestep": timestep, "timestep_indices": index, **plan}


def dit_pair(folder, dtype, inputs_of):
    """{case suffix: inputs and outputs}; in bf16 also what the same stored weights give in f32."""
    model = stages.load_dit(folder, dtype)
    exact = stages.load_dit(folder, "f32") if dtype == "bf16" else None
    out = {}
    for name, inputs in inputs_of(model.config).items():
        taps = {}
        out[name] = {**inputs, **stages.dit(model, inputs, taps), **taps}
        if exact is not None:
            out[name].update({k + "_f32": v for k, v in stages.dit(exact, inputs).items()})
    return out


def dit(paths, seed):
    def inputs_of(config):
        return {n: dit_inputs(config, seed, n, *case[:6]) for n, case in DIT_CASES.items()}
    files = {}
    for dtype, folder in (("f32", paths["nano"]), ("bf16", paths["bf16"])):
        for name, tensors in dit_pair(folder, dtype, inputs_of).items():
            files[f"dit{name}_{dtype}.safetensors"] = tensors
    return files


def token_ids(seed, name, count, vocab):
    return (normal(seed, name, (count,)).abs() * 1000.0).long() % vocab


def text(paths, seed):
    files = {}
    for dtype, folder in (("f32", paths["nano"]), ("bf16", paths["bf16"])):
        model = stages.load_text(folder, dtype)
        exact = stages.load_text(folder, "f32") if dtype == "bf16" else None
        vocab = model.config.text_config.vocab_size
        for name, count in (("", 37), ("_one", 1)):
            ids = token_ids(seed, f"text{name}", count, vocab)
            tensors = {"input_ids": ids, **stages.text(model, ids)}
            if exact is not None:
                tensors["hidden_states_f32"] = stages.text(exact, ids)["hidden_states"]
            files[f"text{name}_{dtype}.safetensors"] = tensors
    return files


def denoise_inputs(config, seed, frames, width, height, rows):
    latents = (frames - 5) // 17 * 5 + 2
    audio = stages.audio_latent_num_frames(frames)
    return {"latents": normal(seed, "denoise.video", (config.in_channels, latents, height // 16, width // 16)),
            "audio_latents": normal(seed, "denoise.audio", (2, config.audio_in_channels, audio)),
            "encoder_hidden_states": 3.0 * normal(seed, "denoise.text", (rows, config.text_dim))}


def denoise(paths, seed):
    """Five grid points, four evaluations; the results stand under out.*, since the probe's names are the inputs'."""
    files = {}
    for dtype, folder in (("f32", paths["nano"]), ("bf16", paths["bf16"])):
        model = stages.load_dit(folder, dtype)
        exact = stages.load_dit(folder, "f32") if dtype == "bf16" else None
        inputs = denoise_inputs(model.config, seed, 39, 96, 64, 11)

        def run(net, steps):
            shifts = [stages.load_scheduler(paths["nano"], n) for n in ("scheduler", "audio_scheduler")]
            return stages.denoise(net, *shifts, inputs["latents"], inputs["audio_latents"],
                                  inputs["encoder_hidden_states"], steps)
        for steps in (2, 5):
            tensors = {**inputs, "steps": torch.tensor([steps])}
            tensors.update({"out." + k: v for k, v in run(model, steps).items()})
            if exact is not None:
                tensors.update({f"out.{k}_f32": v for k, v in run(exact, steps).items()})
            files[f"denoise{steps}_{dtype}.safetensors"] = tensors
    return files
