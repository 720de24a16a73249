"""What the parts of a model promise one another: format, autoencoder, backbone, conditioner and denoiser.

A class fits a contract by having these members; it inherits nothing. Code that works with a part uses no more than
this, and never looks into its config. Every class of the kind folders is run through its contract by a test.

Shapes: B batch, C audio or spectrogram channels, N samples; F spectrogram rows, T frames; Z latent channels, f and t
latent rows and columns (f = F / downsampling, t = T / downsampling). All numbers are float32 unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from dualdiffusion.conditioning import Conditioning, Span
from dualdiffusion.controls import AnyControl, Asked
from dualdiffusion.dsp.tiles import HeldAudio
from dualdiffusion.randomness import SeededNoise


@runtime_checkable
class Format(Protocol):
    """What audio looks like to a network: audio (B, C, N) <-> x (B, *sample_shape(T)), about unit variance.

    Frame t stands for samples t * hop_length to (t + 1) * hop_length.
    """

    @property
    def sample_rate(self) -> int:
        """Of the audio, in Hz."""
        ...

    @property
    def num_channels(self) -> int:
        """C: 1 mono, 2 stereo."""
        ...

    @property
    def hop_length(self) -> int:
        """Samples of a frame."""
        ...

    @property
    def frames_per_second(self) -> float:
        """sample_rate / hop_length."""
        ...

    @property
    def rows(self) -> int:
        """F: bands of a spectrogram, the lowest frequency first; 1 without a frequency axis."""
        ...

    def position(self) -> Tensor:
        """What networks are told of the rows, (F,): ln of frequencies at zero mean and unit variance, or one 0."""
        ...

    @property
    def context_frames(self) -> int:
        """A frame of x depends on no audio that lies more than so many frames before or after it."""
        ...

    def num_frames(self, samples: int) -> int:
        """Frames that `encode` makes of so many samples; a rest of less than a frame is dropped."""
        ...

    def num_samples(self, frames: int) -> int:
        """Samples that `decode` makes of so many frames."""
        ...

    def sample_shape(self, frames: int) -> tuple[int, int, int]:
        """Shape of an encoded clip without the batch: (C, F, T), more channels where samples are folded into them."""
        ...

    def encode(self, audio: Tensor) -> Tensor:
        """(B, C, N), full scale at +-1 -> (B, *sample_shape(num_frames(N)))."""
        ...

    def decode(
        self,
        x: Tensor,
        *,
        iterations: int | None = None,
        seeds: list[int] | None = None,
        callback: Callable[[int, int], None] | None = None,
        held: HeldAudio | None = None,
        circular: bool = False,
    ) -> Tensor:
        """(B, *sample_shape(T)) -> (B, C, num_samples(T)). The same arguments give the same audio.

        Args:
            iterations: of what recovers what `encode` left out, such as the phase; None is the format's own number.
            seeds: one per clip, of whatever is random in that; None is 0 for all.
            callback: called with (steps done, steps), at least once.
            held: audio (C, num_samples(T)) that is known already, and how far it is kept, (num_samples(T),) in [0, 1].
            circular: the clip is a loop, whose end goes on into its beginning.
        """
        ...

    def fit(self, clips: list[Tensor]) -> None:
        """Measures the constants that make x zero mean and unit variance, on clips (C, N) of the dataset."""
        ...


@runtime_checkable
class SpectrogramFormat(Format, Protocol):
    """A format with a frequency axis."""

    def centers(self) -> Tensor:
        """Centre frequencies of the rows in Hz: (F,), rising."""
        ...


@runtime_checkable
class Posterior(Protocol):
    """What an encoder says of clips: a normal distribution around `mode`, (B, Z, f, t), of one width."""

    mode: Tensor
    noise_std: float

    def sample(self, generator: SeededNoise) -> Tensor:
        """The mode plus noise: (B, Z, f, t)."""
        ...

    def kl(self) -> Tensor:
        """How far the latents are from the unit normal, in nats: (B,), at least 0."""
        ...


@runtime_checkable
class Autoencoder(Protocol):
    """Spectrogram (B, C, F, T) <-> latents (B, Z, f, t); F and T must be multiples of `downsampling`.

    Diffusion works on normalised latents, which have zero mean and unit variance over the dataset.
    """

    latents_mean: Tensor
    """(Z,) over the dataset, measured after training."""
    latents_std: Tensor
    """(Z,); exactly 1 while nothing has been measured."""
    loss_logvar: Tensor
    """() ln of the expected reconstruction loss, which is learned."""
    label_dim: int
    """Games that it is told; 0: none."""

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        ...

    @property
    def in_channels(self) -> int:
        """C."""
        ...

    @property
    def latent_channels(self) -> int:
        """Z."""
        ...

    @property
    def downsampling(self) -> int:
        """Spectrogram rows and columns to one latent row and column."""
        ...

    @property
    def context_columns(self) -> int:
        """A latent column depends on no frame that lies more than so many latent columns before or after its own."""
        ...

    @property
    def target_snr(self) -> float:
        """Standard deviation of latents over that of their noise, which training aims at."""
        ...

    @property
    def noise_std(self) -> float:
        """Standard deviation of the noise of latents that are not normalised."""
        ...

    def latent_shape(self, sample_shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """(Z, f, t) of a spectrogram (C, F, T)."""
        ...

    def latent_position(self, position: Tensor) -> Tensor:
        """What a backbone is told of the latent rows, from a format's `position`: (F,) -> (f,)."""
        ...

    def encode(self, x: Tensor, *, position: Tensor, conditioning: Conditioning) -> Posterior:
        """(B, C, F, T) -> the posterior of latents, not normalised.

        Args:
            position: (F,), see `Format.position`.
            conditioning: the games; nothing where label_dim is 0.
        """
        ...

    def decode(self, latents: Tensor, *, position: Tensor, conditioning: Conditioning) -> Tensor:
        """Latents (B, Z, f, t), not normalised -> (B, C, F, T)."""
        ...

    def normalize_latents(self, latents: Tensor) -> Tensor:
        """(B, Z, f, t) or (Z, f, t) -> the same at zero mean and unit variance over the dataset."""
        ...

    def denormalize_latents(self, latents: Tensor) -> Tensor:
        """Undoes `normalize_latents`."""
        ...

    def freeze_encoder(self) -> None:
        """Leaves everything that latents depend on out of training."""
        ...


@runtime_checkable
class Backbone(Protocol):
    """The network F(x; c_noise) inside a denoiser: (B, Z, f, t) -> (B, Z, f, t), unit variance in and out."""

    label_dim: int
    """Games that it is told; 0: unconditional."""

    @property
    def in_channels(self) -> int:
        """Z."""
        ...

    @property
    def size_multiple(self) -> int:
        """t must be a multiple of this, and f too, unless the network has another `row_multiple` for that."""
        ...

    def __call__(
        self, x: Tensor, c_noise: Tensor, *, conditioning: Conditioning, position: Tensor | None = None
    ) -> Tensor:
        """
        Args:
            x: (B, Z, f, t), unit variance.
            c_noise: (B,), the noise level as `Denoiser` encodes it.
            position: (f,), see `Autoencoder.latent_position`; None is all 0.
        """
        ...

    def before_update(self) -> None:
        """Called on accumulated gradients before every optimizer step."""
        ...

    def after_update(self) -> None:
        """Called after every change of the weights by an optimizer."""
        ...


@runtime_checkable
class ConditionerConfig(Protocol):
    """What a conditioner is told: of a part of a track in training, of what is asked in sampling. Picklable."""

    dropout: float
    """Share of training samples that are not told it although it is known."""
    along_time: bool
    """Whether what is told differs from column to column; else it is the same in all of them."""
    along_rows: bool
    """Whether the conditioner gives something else for each latent row, (B, channels, f, t)."""
    of_latents: bool
    """Whether it tells what is known of the latents, row by row: see `regions.Known`, which has `told` and `drawn`."""

    @property
    def columns_told(self) -> int:
        """n, numbers told of each column."""
        ...

    def fact_at(self, facts: Mapping[str, Any], span: Span) -> Tensor | None:
        """What is true of a part of a track, (n, span.columns); None where it is not known.

        Args:
            facts: see `dualdiffusion.data.facts`; in training also `seconds` and `game` of the track.
        """
        ...

    def asked(self, value: Asked, span: Span) -> Tensor:
        """What a value that was asked for, one that its control takes, means for a clip, (n, span.columns)."""
        ...

    def control(self, facts: Mapping[str, Sequence[Mapping[str, Any]]]) -> AnyControl:
        """What one may ask for; `facts` are those of the training tracks of each game."""
        ...


@runtime_checkable
class Conditioner(Protocol):
    """Turns what is told into channels, which an adapter brings to a backbone."""

    config: ConditionerConfig

    @property
    def channels(self) -> int:
        """Of what it gives."""
        ...

    def __call__(self, values: Tensor, kept: Tensor) -> Tensor:
        """Values (B, n, t) and whether they are told, (B,) -> (B, channels, t); with `along_rows` (B, channels, f, t).

        Untold, it does not depend on them.
        """
        ...


@runtime_checkable
class Transform(Protocol):
    """Changes training samples at random; see `dualdiffusion.transforms`."""

    numbers: int
    """Random numbers that it takes of each sample."""

    def __call__(self, sample: dict[str, Tensor]) -> dict[str, Tensor]:
        """`data` (B, C, N) and `random` (B, n) -> the same keys, n less by `numbers`; other keys stay."""
        ...


@runtime_checkable
class Denoiser(Protocol):
    """D(x; sigma): an estimate of clean latents from noisy ones. Karras et al. 2022, equation 7."""

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        ...

    @property
    def label_dim(self) -> int:
        """Games that it is told; 0: unconditional."""
        ...

    @property
    def told(self) -> Mapping[str, ConditionerConfig]:
        """What else it may be told, by id; empty: nothing."""
        ...

    @property
    def in_channels(self) -> int:
        """Z."""
        ...

    @property
    def size_multiple(self) -> int:
        """t must be a multiple of this."""
        ...

    @property
    def row_multiple(self) -> int:
        """f must be a multiple of this."""
        ...

    @property
    def rows(self) -> int | None:
        """What f must be, where the network takes no other number; None where it does."""
        ...

    @property
    def sigma_data(self) -> float:
        """Standard deviation of the clean latents."""
        ...

    def __call__(
        self, x: Tensor, sigma: Tensor, conditioning: Conditioning, *, position: Tensor | None = None
    ) -> Tensor:
        """
        Args:
            x: (B, Z, f, t), clean latents plus noise of standard deviation sigma.
            sigma: (B,), above 0.
            position: (f,), see `Autoencoder.latent_position`.

        Returns:
            The estimate of the clean latents, (B, Z, f, t), float32 whatever the precision of the network.
        """
        ...

    def log_variance(self, sigma: Tensor) -> Tensor:
        """u(sigma), ln of the expected loss at each noise level (Karras et al. 2023, equation 15): (B,) -> (B,)."""
        ...
