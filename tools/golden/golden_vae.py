"""golden_vae.py - goldens of the video and audio autoencoders, f32.

Tiled pictures are large, so those files hold every n-th value: `sample_strided` is
sample[:, ::st, ::sy, ::sx] with (st, sy, sx) = `sample_stride`, and `sample_shape` is the whole shape. The
spatial strides are prime to 16, so that every phase of a patch, a tile and a blend is hit.
"""

import torch

import stages
from fill import normal

# Suffix: latents [T, h, w], stride (t, y, x) or None for the whole picture, why.
DECODE = {
    "": ((7, 2, 2), None, "one clip, one tile"),
    "_padded": ((9, 2, 4), (1, 3, 3), "nine latents are not 5n + 2: the last is repeated, the surplus cut"),
    "_long": ((17, 2, 2), (1, 5, 5), "three clips: two cross-fades"),
    "_tiled": ((12, 2, 18), (1, 5, 7), "288 pixels wide: two tiles; two clips"),
    "_grid": ((7, 18, 18), (1, 13, 11), "2 x 2 tiles: the left neighbour is blended raw"),
    "_three": ((7, 2, 34), (1, 5, 7), "544 pixels wide: three tiles with overlaps of 112"),
}

# Suffix: frames, height, width, why.
ENCODE = {
    "": (22, 32, 32, "22 frames: padded to two clips of 17, three latents dropped"),
    "_image": (1, 48, 32, "one frame: no padding in time"),
    "_short": (5, 32, 32, "five frames: one padded clip, two latents"),
    "_tiled": (1, 32, 288, "two tiles, blended on the latent grid"),
}


def film(seed, name, frames, height, width):
    """A picture with structure: drifting waves plus noise, in the ImageNet-normalised range."""
    t = torch.arange(frames, dtype=torch.float32).view(1, -1, 1, 1)
    y = torch.arange(height, dtype=torch.float32).view(1, 1, -1, 1)
    x = torch.arange(width, dtype=torch.float32).view(1, 1, 1, -1)
    c = torch.arange(3, dtype=torch.float32).view(-1, 1, 1, 1)
    return torch.sin(0.21 * x + 0.3 * t + c) * torch.cos(0.17 * y - 0.1 * t) + 0.3 * normal(seed, name, (3, frames, height, width))


def pick(sample, stride):
    if stride is None:
        return {"sample": sample}
    st, sy, sx = stride
    return {"sample_strided": sample[:, ::st, ::sy, ::sx].contiguous(), "sample_stride": torch.tensor(stride),
            "sample_shape": torch.tensor(sample.shape)}


def video(paths, seed):
    model = stages.load_vae(paths["nano"])
    files = {}
    for name, (shape, stride, _) in DECODE.items():
        latents = normal(seed, "vae.decode" + name, (model.config.latent_channels, *shape))
        files[f"vae_decode{name}.safetensors"] = {"latents": latents, **pick(stages.vae_decode(model, latents)["sample"], stride)}
    for name, (frames, height, width, _) in ENCODE.items():
        sample = film(seed, "vae.encode" + name, frames, height, width)
        files[f"vae_encode{name}.safetensors"] = {"sample": sample, **stages.vae_encode(model, sample)}
    return files


def audio(paths, seed):
    model = stages.load_audio_vae(paths["nano"])
    channels, hop = model.config.latent_channels, model.hop_length
    files = {}
    for name, count in (("", 37), ("_one", 1)):
        latents = normal(seed, "audio.decode" + name, (2, channels, count))
        files[f"audio_decode{name}.safetensors"] = {"latents": latents, **stages.audio_decode(model, latents)}
    for name, count in (("", 21 * hop + 137), ("_one", hop)):
        sample = 0.4 * normal(seed, "audio.encode" + name, (2, 1, count))
        files[f"audio_encode{name}.safetensors"] = {"sample": sample, **stages.audio_encode(model, sample)}
    return files


def original(paths, seed):
    """The original-layout folder has a video encoder of its own; everything else agrees with nano."""
    import original as layout
    model = layout.vae_model(seed)
    sample = film(seed, "vae.encode_original", 5, 32, 32)
    return {"vae_encode_original.safetensors": {"sample": sample, **stages.vae_encode(model, sample)}}
