"""Mean and standard deviation of the model's own latents: what its VAE hears, stereo and texture included.

Not comparable between models with different VAEs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dualdiffusion.audio import mix_channels
from dualdiffusion.codec import Codec
from dualdiffusion.conditioning import Conditioning
from sampling.generator import Generator


class VAELatents:
    """Statistics over every second of each row of each latent channel, after normalisation over the dataset."""

    name = "vae_latents"

    def __init__(self, generator: Generator) -> None:
        # The encoder is told no game: otherwise the embedding would give it away.
        self.codec = Codec(generator.format, generator.vae, Conditioning())
        channels, rows, _ = generator.vae.latent_shape(generator.format.sample_shape(generator.vae.downsampling))
        self.dim = 2 * channels * rows

    @torch.inference_mode()
    def __call__(self, clip: Tensor, sample_rate: int) -> Tensor:
        """(C, N) -> (m, 2 * Z * f)."""
        codec = self.codec
        samples = codec.columns(clip.shape[1]) * codec.column_samples
        clip = mix_channels(clip, codec.format.num_channels)[:, :samples]
        latents = codec.encode(codec.spectrogram(clip))[0].flatten(0, -2).cpu()
        count = min(max(round(latents.shape[1] / codec.columns_per_second), 1), latents.shape[1])
        parts = latents.split(latents.shape[1] // count, dim=1)[:count]
        return torch.stack([torch.cat([part.mean(dim=1), part.std(dim=1, correction=0)]) for part in parts])


def build(generator: Generator) -> VAELatents:
    """With the VAE of the model that is evaluated."""
    return VAELatents(generator)
