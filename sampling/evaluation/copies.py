"""Is a clip a copy of a training track? Correlation of spectrogram patches with every moment of every track.

A patch is a few seconds of a mel spectrogram of the mono mix, each band less its mean, so that it is the movement in
time that is compared and not the timbre, which clips of a game share. Magnitudes are raised to a power: a gain is then
a factor, which a correlation does not see. Another pitch, tempo or instrument is not found.

Shapes: P patches, F bands, T frames of a patch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dualdiffusion import audio
from dualdiffusion.data.dataset_folder import Track
from dualdiffusion.formats.mel_spectrogram import MelSpectrogram

FRAMES_PER_SECOND = 32
BANDS = 32
EXPONENT = 0.3
PATCH_SECONDS = 4.0
BLOCK = 1024  # frames of a track that are transformed at once
MARGIN = 4  # frames at the edges of what is read, which the window of the first and last ones reaches beyond
PATCHES_AT_ONCE = 1024
QUIET = 1e-3
"""Moments of a track that move less than this share of its mean are not compared: there is nothing to recognise."""


@dataclass(frozen=True)
class Match:
    """The most similar moment of all tracks: correlation in [-1, 1], and where it lies, in seconds."""

    score: float
    track: Track
    track_seconds: float
    clip_seconds: float


class CopySearch:
    """Finds clips in tracks.

    Args:
        sample_rate: of clips and tracks, in Hz.
        seconds: length of the clips.
    """

    def __init__(self, sample_rate: int, seconds: float) -> None:
        self.sample_rate = sample_rate
        self.hop = sample_rate // FRAMES_PER_SECOND
        self.patch_frames = int(min(PATCH_SECONDS, seconds) * sample_rate) // self.hop
        settings = {"sample_rate": sample_rate, "hop_length": self.hop, "n_mels": BANDS, "num_channels": 1}
        # A window of two hops: frames of clip and track need not begin at the same moment.
        window = {"window_length": 4 * self.hop, "window_exponent": 2.0}
        limits = {"f_min": 60.0, "f_max": sample_rate / 2}
        self.format = MelSpectrogram(MelSpectrogram.Config(**settings, **window, **limits))

    def patches(self, clip: Tensor) -> Tensor:
        """(C, N) -> (P, F, T), overlapping by half; zero mean in each band and unit norm, or all 0 in silence."""
        bands = self._bands(clip)
        windows = bands.unfold(1, self.patch_frames, max(self.patch_frames // 2, 1)).transpose(0, 1)
        centred = windows - windows.mean(dim=2, keepdim=True)
        norm = centred.square().sum(dim=(1, 2), keepdim=True).sqrt()
        return centred / norm.clamp(min=1e-9)

    def find(
        self,
        clips: list[Tensor],
        tracks: list[Track],
        on_track: Callable[[], None] | None = None,
        *,
        but: Sequence[str] | None = None,
    ) -> list[Match]:
        """The best match of each clip, given as its patches (P, F, T), the same number each.

        Args:
            on_track: called after each track and group of patches; see `passes`.
            but: a track for each clip, by its file name, in which it is not searched for. Where there is no other, the
                match has score -2.
        """
        per_clip, group_size = len(clips[0]), self._group_size(len(clips[0]))
        own = [name for name in but or [""] * len(clips) for _ in range(per_clip)]
        found: list[Match] = []
        for number, group in enumerate(torch.cat(clips).split(group_size)):
            names = own[number * group_size :][: len(group)]
            score = torch.full((len(group),), -2.0)
            track, frame = torch.zeros(len(group), dtype=torch.long), torch.zeros(len(group), dtype=torch.long)
            spectra = torch.fft.rfft(group, BLOCK).conj()
            for index, candidate in enumerate(tracks):
                allowed = torch.tensor([name != candidate.file_name for name in names])
                for first, correlation in self._correlations(spectra, candidate):
                    best, at = correlation.max(dim=1)
                    better = (best > score) & allowed
                    score = torch.where(better, best, score)
                    track, frame = torch.where(better, index, track), torch.where(better, first + at, frame)
                if on_track:
                    on_track()
            best = score.view(-1, per_clip).argmax(dim=1)
            for clip, patch in enumerate(best.tolist()):
                at = clip * per_clip + patch
                seconds = float(frame[at]) * self.hop / self.sample_rate
                offset = patch * max(self.patch_frames // 2, 1) * self.hop / self.sample_rate
                found.append(Match(float(score[at]), tracks[track[at]], seconds, offset))
        return found

    def passes(self, clips: list[Tensor]) -> int:
        """How often `find` goes through all tracks."""
        return -(-sum(map(len, clips)) // self._group_size(len(clips[0])))

    def _group_size(self, per_clip: int) -> int:
        return max(PATCHES_AT_ONCE // per_clip, 1) * per_clip

    def _correlations(self, spectra: Tensor, track: Track) -> Iterator[tuple[int, Tensor]]:
        """First frame and correlations (P, offsets) of each block of a track; spectra: (P, F, BLOCK // 2 + 1).

        As a patch has zero mean in each band, its product with the track needs no mean taken off.
        """
        length, scale = self.patch_frames, 0.0
        for first, bands in self._blocks(track):
            offsets = bands.shape[1] - length + 1
            if offsets < 1:
                return
            product = torch.einsum("pfk,fk->pk", spectra, torch.fft.rfft(bands, BLOCK))
            dot = torch.fft.irfft(product, BLOCK)[:, :offsets]
            energy = _moving_energy(bands.double(), length)
            scale = max(scale, float(energy.mean()))
            usable = energy > max(QUIET * scale, 1e-12)
            yield first, torch.where(usable, dot / energy.clamp(min=1e-12).sqrt(), -1.0).float()

    def _blocks(self, track: Track) -> Iterator[tuple[int, Tensor]]:
        """First frame and bands (F, up to BLOCK) of stretches that overlap by all but one frame of a patch."""
        total, step = int(track.seconds * self.sample_rate) // self.hop, BLOCK - self.patch_frames + 1
        for first in range(0, max(total - self.patch_frames + 1, 1), step):
            before = min(MARGIN, first)
            samples, _ = audio.read(
                track.path, start=(first - before) * self.hop, frames=(BLOCK + before + MARGIN) * self.hop
            )
            yield first, self._bands(samples)[:, before : before + BLOCK]

    def _bands(self, samples: Tensor) -> Tensor:
        return self.format.mel(samples.mean(dim=0, keepdim=True)[None])[0, 0].clamp(min=0) ** EXPONENT


def _moving_energy(bands: Tensor, length: int) -> Tensor:
    """Sum of squares about each band's mean, over every stretch of `length` frames: (F, T) -> (T - length + 1,)."""
    bands = bands - bands.mean(dim=1, keepdim=True)  # smaller numbers, smaller differences of large sums
    padded = torch.nn.functional.pad(bands, (1, 0))
    sums, squares = padded.cumsum(dim=1), padded.square().cumsum(dim=1)
    total, square = sums[:, length:] - sums[:, :-length], squares[:, length:] - squares[:, :-length]
    return (square - total.square() / length).clamp(min=0).sum(dim=0)
