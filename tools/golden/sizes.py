"""sizes.py - the configurations of the tiny MiniMax-H3 checkpoints.

`nano` is the committed family of the tests. Its sizes are chosen so that nothing divides nicely:
heads * head_dim != hidden, 6 * rope_freq_dim < head_dim, no width is a multiple of 16 by accident,
three DiT heads (one of four ranks holds none), and the video VAE keeps the released ratios 16 and 4, so
that canvases, tiles and the 17n + 5 arithmetic are real. What the original layout cannot express
(8 audio heads, resblock kernels 3/7/11, 4 registers, ffn_mult 4, rope_theta 10000) has the released value.
`alt` differs from `nano` in every number that a config can carry: a reader that took one of them for a
constant fails on it.
"""

import copy

import numpy as np

FLOAT32 = ("proj_in.", "audio_proj_in.", "time_embedder.", "proj_out.", "audio_proj_out.")

NANO = {
    "transformer": dict(
        num_attention_heads=3, attention_head_dim=16, hidden_size=28, num_layers=3, num_refiner_layers=2,
        ffn_dim=44, in_channels=6, audio_in_channels=4, patch_size=(1, 2, 2), text_dim=12, freq_dim=16,
        time_embed_hidden_dim=20, time_embed_dim=12, rope_freq_dim=2, rope_theta=10000.0,
        norm_eps=1e-5, qk_norm_eps=1e-5, final_norm_eps=1e-5),
    "text": dict(
        hidden_size=12, num_hidden_layers=52, num_attention_heads=4, num_key_value_heads=2, head_dim=8,
        intermediate_size=16, rms_norm_eps=1e-6, rope_theta=5000000.0, mrope_section=[2, 1, 1],
        vocab_size=392),
    "vision": dict(
        depth=1, hidden_size=8, intermediate_size=12, num_heads=2, in_channels=3, patch_size=4,
        temporal_patch_size=2, spatial_merge_size=2, num_position_embeddings=16,
        deepstack_visual_indexes=[0]),
    "vae": dict(
        in_channels=3, out_channels=3, latent_channels=6, block_out_channels=(4, 6, 6, 8, 8),
        layers_per_block=1, spatial_downsample_factors=(2, 2, 2, 2, 1),
        temporal_downsample_factors=(1, 2, 2, 1, 1), norm_num_groups=2, norm_eps=1e-6,
        spatial_padding_mode="reflect", decoder_num_layers=3, decoder_num_attention_heads=2,
        decoder_attention_head_dim=8, decoder_num_register_tokens=4, decoder_ffn_mult=4,
        decoder_rope_theta=100.0, decoder_rope_dim_ratio=0.75, decoder_norm_eps=1e-5,
        clip_length=17, token_drop=3),
    "audio_vae": dict(
        encoder_dim=2, encoder_rates=(2, 4, 5, 5), latent_dim=48, latent_channels=4,
        num_attention_heads=8, decoder_dim=20, decoder_rates=(5, 5, 8), decoder_kernel_sizes=(9, 9, 16),
        resblock_kernel_sizes=(3, 7, 11), resblock_dilation_sizes=((1, 3, 5), (1, 3, 5), (1, 3, 5)),
        sampling_rate=8000),
    "shift": 12.0, "audio_shift": 3.0, "merges": 100,
    "shard_bytes": {"transformer": "120KB", "text_encoder": "200KB", "vae": "10MB"},
}

ALT = {
    "transformer": dict(
        num_attention_heads=5, attention_head_dim=24, hidden_size=44, num_layers=4, num_refiner_layers=1,
        ffn_dim=70, in_channels=5, audio_in_channels=6, patch_size=(1, 2, 2), text_dim=40, freq_dim=24,
        time_embed_hidden_dim=36, time_embed_dim=26, rope_freq_dim=3, rope_theta=5000.0,
        norm_eps=2e-5, qk_norm_eps=3e-5, final_norm_eps=4e-5),
    "text": dict(
        hidden_size=40, num_hidden_layers=53, num_attention_heads=6, num_key_value_heads=3, head_dim=16,
        intermediate_size=72, rms_norm_eps=2e-6, rope_theta=1000000.0, mrope_section=[4, 2, 2],
        vocab_size=440),
    "vision": dict(
        depth=2, hidden_size=16, intermediate_size=20, num_heads=2, in_channels=3, patch_size=8,
        temporal_patch_size=2, spatial_merge_size=2, num_position_embeddings=25,
        deepstack_visual_indexes=[0, 1]),
    "vae": dict(
        in_channels=3, out_channels=3, latent_channels=5, block_out_channels=(6, 6, 9, 9, 12, 12),
        layers_per_block=2, spatial_downsample_factors=(2, 2, 2, 2, 1, 1),
        temporal_downsample_factors=(1, 2, 2, 1, 1, 1), norm_num_groups=3, norm_eps=2e-6,
        spatial_padding_mode="reflect", decoder_num_layers=2, decoder_num_attention_heads=3,
        decoder_attention_head_dim=16, decoder_num_register_tokens=2, decoder_ffn_mult=3,
        decoder_rope_theta=50.0, decoder_rope_dim_ratio=0.75, decoder_norm_eps=2e-5,
        clip_length=17, token_drop=3),
    "audio_vae": dict(
        encoder_dim=3, encoder_rates=(2, 5, 4), latent_dim=36, latent_channels=6,
        num_attention_heads=3, decoder_dim=24, decoder_rates=(5, 4, 2), decoder_kernel_sizes=(9, 8, 4),
        resblock_kernel_sizes=(3, 5), resblock_dilation_sizes=((1, 3), (1, 2)),
        sampling_rate=1600),
    "shift": 6.0, "audio_shift": 2.0, "merges": 130,
    "shard_bytes": {"transformer": "300KB", "text_encoder": "1MB", "vae": "300KB"},
}

# The original layout fixes 32 norm groups outside its config, so its encoder needs at least 32 channels.
ORIGINAL_ENCODER = dict(
    block_out_channels=(32, 32, 32, 32), layers_per_block=1, spatial_downsample_factors=(2, 2, 2, 2),
    temporal_downsample_factors=(1, 2, 2, 1), norm_num_groups=32)


def statistics(seed, which, channels):
    """Latent means and deviations that no reader can mistake for 0 and 1; short decimals, exact in JSON."""
    rng = np.random.default_rng([seed, 77, which])
    mean = [round(float(v), 4) for v in rng.normal(0.0, 0.6, channels)]
    std = [round(float(v), 4) for v in rng.uniform(0.6, 1.9, channels)]
    return mean, std


def family(name, seed):
    """All configurations of one family, with its latent statistics filled in."""
    sizes = copy.deepcopy({"nano": NANO, "alt": ALT}[name])
    for which, part in enumerate(("vae", "audio_vae")):
        mean, std = statistics(seed, which, sizes[part]["latent_channels"])
        sizes[part].update(latents_mean=mean, latents_std=std)
    return sizes
