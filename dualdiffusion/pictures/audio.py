"""What can be looked at of a clip: a spectrogram, whatever the format of its model is.

Shapes: C channels, N samples; F rows, T frames.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import pad

from dualdiffusion.contracts import Format
from dualdiffusion.formats.mel_spectrogram import MelSpectrogram

COLUMNS_PER_SECOND, BANDS = 100, 128


def audio_spectrogram(samples: Tensor, sample_rate: int) -> Tensor:
    """A spectrogram to look at, of audio (C, N): (C, 128 mel bands, 100 columns a second, at least one)."""
    format = MelSpectrogram(
        MelSpectrogram.Config(
            sample_rate=sample_rate,
            num_channels=len(samples),
            hop_length=sample_rate // COLUMNS_PER_SECOND,
            window_length=sample_rate // 10,
            n_mels=BANDS,
            f_max=sample_rate / 2,
        )
    ).to(samples.device)
    # Clips of less than a column are followed by silence.
    return format.encode(pad(samples, (0, max(0, format.num_samples(1) - samples.shape[-1])))[None])[0]


def visible(format: Format, x: Tensor) -> Tensor:
    """x (C, F, T) as it is, or, of a format without a frequency axis, the spectrogram of its audio."""
    return x if format.rows > 1 else audio_spectrogram(format.decode(x[None])[0], format.sample_rate)
