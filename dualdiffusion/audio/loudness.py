"""Loudness and true peak (ITU-R BS.1770-4), of tensors, and of signals that are given in blocks.

The meters take NumPy arrays of shape (samples, channels), the functions tensors of shape (channels, samples); both
float32, full scale at +-1.
"""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def loudness_lufs(audio: torch.Tensor, sample_rate: int) -> float:
    """Integrated loudness (ITU-R BS.1770-4) of (channels, samples) in LUFS; -inf for silence.

    Not torchaudio.functional.loudness: its filters clamp to [-1, 1], so that it reads loud material too low. Clips
    shorter than one gating block (0.4 s) are measured whole, without gates.
    """
    return loudness_of(audio.detach().float().cpu().numpy().T, sample_rate)


def loudness_of(samples: np.ndarray, sample_rate: int) -> float:
    """The same of an array (samples, channels)."""
    meter = LoudnessMeter(sample_rate, samples.shape[1])
    for at in range(0, len(samples), meter.chunk_frames):
        meter.add(samples[at : at + meter.chunk_frames])
    return meter.integrated()


def true_peak(audio: torch.Tensor, sample_rate: int) -> float:
    """Highest value of (channels, samples), between the samples too, as a factor of full scale; see TruePeakMeter."""
    return true_peak_of(audio.detach().float().cpu().numpy().T, sample_rate)


def true_peak_of(samples: np.ndarray, sample_rate: int) -> float:
    """The same of an array (samples, channels)."""
    meter = TruePeakMeter(sample_rate, samples.shape[1])
    meter.add(samples)
    return meter.result()


def channel_weights(channels: int) -> list[float]:
    """What each channel's energy counts, in WAV order: 1.41 around the listener, nothing for the LFE, 1 in front.

    Quadraphonic sound and 5.0 have no LFE. Channels behind the eighth count as those around the listener.
    """
    front, surround, lfe = 1.0, 1.41, 0.0
    if channels <= 3:
        return [front] * channels
    if channels == 4:  # front left and right, back left and right
        return [front, front, surround, surround]
    if channels == 5:  # front left, right and centre, back left and right
        return [front, front, front, surround, surround]
    return [front, front, front, lfe] + [surround] * (channels - 4)


class LoudnessMeter:
    """Integrated loudness (ITU-R BS.1770-4) of a signal given in blocks, in constant memory per minute."""

    _HOP = 0.1  # s: gating blocks of 0.4 s that overlap by 75 % are sums of four of these
    _PREROLL = 0.25  # s: the filters' memory has long faded by then

    def __init__(self, sample_rate: int, channels: int) -> None:
        self.sample_rate = sample_rate
        self.hop = max(round(self._HOP * sample_rate), 1)
        self.chunk_frames = 20 * self.hop
        self._weights = np.array(channel_weights(channels))
        self._held = np.zeros((0, channels), np.float32)
        self._before = np.zeros((round(self._PREROLL * sample_rate), channels), np.float32)
        self._response = k_weighting(self.chunk_frames + len(self._before), sample_rate)
        self._hops: list[np.ndarray] = []
        self._tail = 0.0  # energy of the last, incomplete hop: it only counts for clips shorter than a block
        self._samples = 0

    def add(self, block: np.ndarray) -> None:
        """Takes (samples, channels), float32, of any length."""
        self._samples += len(block)
        self._held = np.concatenate([self._held, block])
        while len(self._held) >= self.chunk_frames:
            self._measure(self._held[: self.chunk_frames])
            self._held = self._held[self.chunk_frames :]

    def integrated(self) -> float:
        """The loudness in LUFS of all that was added; -inf for silence. To be called once, at the end."""
        if len(self._held):
            self._measure(self._held)
            self._held = self._held[:0]
        hops = np.concatenate(self._hops) if self._hops else np.zeros(0)
        if len(hops) < 4:
            return _lufs((hops.sum() + self._tail) / max(self._samples, 1))
        # Blocks of 0.4 s, one every 0.1 s.
        blocks = np.convolve(hops, np.ones(4), "valid") / (4 * self.hop)
        # First the absolute gate, at -70 LUFS; then the relative one, 10 dB below the mean of what has passed it.
        loud = blocks[blocks > _energy(-70.0)]
        if not len(loud):
            return -math.inf
        return _lufs(loud[loud > loud.mean() * 0.1].mean())

    def _measure(self, chunk: np.ndarray) -> None:
        """Filters a chunk together with what came before it, and keeps the energy of each of its hops."""
        signal = np.concatenate([self._before, chunk])
        preroll = len(self._before)
        self._before = signal[-preroll:]
        # The product of spectra is a circular convolution: what wraps around lands in the preroll, which is dropped.
        length = self.chunk_frames + preroll
        spectrum = np.fft.rfft(np.ascontiguousarray(signal.T), length) * self._response
        weighted = np.fft.irfft(spectrum, length)[:, preroll : len(signal)]
        energy = self._weights @ np.square(weighted, dtype=np.float64)
        whole = len(energy) // self.hop * self.hop
        self._hops.append(energy[:whole].reshape(-1, self.hop).sum(1))
        self._tail = float(energy[whole:].sum())


class TruePeakMeter:
    """The highest value of a signal between its samples too (ITU-R BS.1770-4, annex 2: four times oversampled)."""

    def __init__(self, sample_rate: int, channels: int) -> None:
        import soxr

        self._stream = soxr.ResampleStream(sample_rate, 4 * sample_rate, channels, dtype="float32", quality="HQ")
        self._channels = channels
        self._peak = 0.0

    def add(self, block: np.ndarray) -> None:
        """Takes (frames, channels), float32."""
        for data in (block, self._stream.resample_chunk(np.ascontiguousarray(block))):
            if data.size:
                self._peak = max(self._peak, float(data.max()), -float(data.min()))

    def result(self) -> float:
        """The peak as a factor of full scale; to be called once, at the end."""
        with contextlib.suppress(ValueError):
            data = self._stream.resample_chunk(np.zeros((0, self._channels), np.float32), last=True)
            self._peak = max(self._peak, float(data.max()), -float(data.min()))
        return self._peak


def k_weighting(length: int, sample_rate: int) -> np.ndarray:
    """BS.1770's K-weighting at the rfft bins of `length` samples: its two biquads, transformed to any sample rate."""
    z = np.exp(-2j * np.pi * np.arange(length // 2 + 1) / length)
    k = math.tan(math.pi * 1681.974450955533 / sample_rate)
    q, high = 0.7071752369554196, 10 ** (3.999843853973347 / 20)
    band = high**0.4996667741545416
    shelf = _biquad(z, (high + band * k / q + k * k, 2 * (k * k - high), high - band * k / q + k * k), k, q)
    k = math.tan(math.pi * 38.13547087602444 / sample_rate)
    q = 0.5003270373238773
    high_pass = _biquad(z, (1.0, -2.0, 1.0), k, q) * (1 + k / q + k * k)
    return (shelf * high_pass).astype(np.complex64)


def _biquad(z: np.ndarray, numerator: tuple[float, float, float], k: float, q: float) -> np.ndarray:
    """The response of a biquad whose denominator is the bilinear transform of s^2 + s / q + 1."""
    a = (1 + k / q + k * k, 2 * (k * k - 1), 1 - k / q + k * k)
    b = numerator
    return (b[0] + b[1] * z + b[2] * z * z) / (a[0] + a[1] * z + a[2] * z * z)


def _energy(lufs: float) -> float:
    return 10 ** ((lufs + 0.691) / 10)


def _lufs(energy: float) -> float:
    return 10 * math.log10(energy) - 0.691 if energy > 0 else -math.inf
