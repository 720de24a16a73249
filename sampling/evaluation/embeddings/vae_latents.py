"""Mean and standard deviation of the model's own latents: what its VAE hears, stereo and texture included.

Not comparable between models with different VAEs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dualdiffusion.audio import mix_channels
from dualdiffusion.conditioning import Conditioning
from sampling.generator import Generator


class VAELatents:
    """Statistics over every second of each row of each latent channel, after normalisation over the dataset."""

    name = "vae_latents"

    def __init__(self, generator: Generator) -> None:
        self.format, self.vae = generator.format, generator.vae
        self.columns_per_second = self.format.frames_per_second / self.vae.downsampling
        channels, *rows, _ = self.vae.latent_shape(self.format.sample_shape(self.vae.downsampling))
        self.dim = 2 * channels * (rows[0] if rows else 1)

    @torch.inference_mode()
    def __call__(self, clip: Tensor, sample_rate: int) -> Tensor:
        """(C, N) -> (m, 2 * Z * f). The encoder is told no game: otherwise the embedding would give it away."""
        frames = self.format.num_frames(clip.shape[1]) // self.vae.downsampling * self.vae.downsampling
        clip = mix_channels(clip, self.format.num_channels)[:, : self.format.num_samples(frames)]
        position = self.format.position().to(self.vae.device)
        x = self.format.encode(clip[None].to(self.vae.device))
        mode = self.vae.encode(x, position=position, conditioning=Conditioning()).mode
        latents = self.vae.normalize_latents(mode)[0].flatten(0, -2).cpu().float()
        count = min(max(round(latents.shape[1] / self.columns_per_second), 1), latents.shape[1])
        parts = latents.split(latents.shape[1] // count, dim=1)[:count]
        return torch.stack([torch.cat([part.mean(dim=1), part.std(dim=1, correction=0)]) for part in parts])


def build(generator: Generator) -> VAELatents:
    """With the VAE of the model that is evaluated."""
    return VAELatents(generator)
