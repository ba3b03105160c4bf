"""fill.py - deterministic weights for the tiny checkpoints, tensor by tensor.

Every tensor has a generator of its own, seeded by (seed, CRC-32 of its name), so that neither the order of
the tensors nor a change elsewhere moves its values. numpy's PCG64 gives the same normals on every machine.
What the classes start as zero or one (norm weights, anchors, registers, Snake parameters, adaLN biases) gets
other values, since a code path that skips it would otherwise go unnoticed. Linear maps are scaled by
1 / sqrt(fan-in), so that activations stay of order one through the whole depth.
"""

import math
import re
import zlib

import numpy as np
import torch

KEEP = ("filter", "zero_k_bias", "inv_freq")


def normal(seed, name, shape):
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    return torch.from_numpy(rng.standard_normal(tuple(shape), dtype=np.float32))


def weight_norm_gain(name, shape):
    """weight_g for one weight-normed convolution: rows of norm g map unit input to variance g^2."""
    if ".ups." in name:
        fan_in, fan_out, kernel = shape
        stride = (kernel + 1) // 2
        return math.sqrt(fan_out * stride / fan_in)
    if "conv_post" in name:
        return 0.25
    if ".convs2." in name or re.search(r"\.block\.[0-2]\.block\.3\.", name):
        return 0.3
    return 1.0


def linear_gain(name):
    """Branches that add into a residual stream are damped; what feeds SiLU or a head is not."""
    if any(k in name for k in ("o_proj", "down_proj", "to_out.0", "ff.net.2", "linear_fc2", "attn.proj", "pre_block.attn.qkv")):
        return 0.6
    if name.startswith("encoder.") and "conv" in name:
        return 1.3
    return 1.0


def value(seed, name, old, shapes):
    """The new value of one tensor; `shapes` gives the shapes of all tensors of the part."""
    shape = old.shape
    last = name.rsplit(".", 1)[-1]
    if last in KEEP:
        return old.float()
    z = normal(seed, name, shape)
    if last == "weight_g":
        full = shapes[name[:-1] + "v"]
        return weight_norm_gain(name, full) * (1.0 + 0.1 * z).abs()
    if last == "weight_v":
        return z
    if name.endswith("register_tokens"):
        return z
    if last in ("scale1", "scale2"):
        return 0.5 + 0.1 * z
    if last == "alpha" and len(shape) == 3:                 # Snake: linear space
        return 0.5 + 0.2 * z.abs()
    if last in ("alpha", "beta"):                           # SnakeBeta: log space
        return 0.3 * z
    if "adaln_proj.linear.bias" in name or name == "norm_out.linear.bias":
        return 0.4 * z
    if last == "weight" and len(shape) == 1:                # any norm
        return 1.0 + 0.1 * z
    if "bias" in last:
        return 0.1 * z
    if "embed_tokens" in name or "pos_embed" in name:
        return z
    fan_in = int(np.prod(shape[1:]))
    return z * (linear_gain(name) / math.sqrt(fan_in))


@torch.no_grad()
def fill(model, seed, part):
    """Replace every tensor of a model's state; `part` keeps equal names of two parts apart."""
    state = model.state_dict()
    shapes = {k: tuple(v.shape) for k, v in state.items()}
    for name, old in state.items():
        new = value(seed + zlib.crc32(part.encode()) % 1000, name, old, shapes)
        old.copy_(new.to(old.dtype))
    return model
