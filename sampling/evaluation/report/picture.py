"""`--picture`: a clip of each game at each stage, side by side: spectrogram, onset curve, and the measures of both."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from dualdiffusion.dsp.onsets import HOP_SECONDS, onset_curve
from dualdiffusion.files import atomic_path
from dualdiffusion.formats.mel_spectrogram import MelSpectrogram
from dualdiffusion.pictures.spectrogram import spectrogram_pixels
from sampling.evaluation.measures import GENERATED, THROUGH_FORMAT, THROUGH_VAE, TRAINING
from sampling.evaluation.music.pitch import sharpness
from sampling.evaluation.music.rhythm import rhythm_of_curve

COLUMNS = {
    TRAINING: "a training clip",
    THROUGH_FORMAT: "the same through the format",
    THROUGH_VAE: "the same through the VAE",
    GENERATED: "generated",
}
WIDTH, SPECTROGRAM, CURVE = 400, 150, 48  # of a cell, in pixels
LEFT, TOP, GAP, CAPTION, NOTE = 28, 34, 14, 20, 20
MOST_SECONDS = 8.0
"""Of longer clips, the beginning is drawn: beats would be too narrow to be seen."""
BANDS, FRAMES_PER_SECOND = 128, 125
SOFTEST = -60.0
"""Decibels below the loudest of all that is shown black."""
HIGHEST_SHARE, LOWEST_FULL = 0.999, 0.2
"""A game's space for onset curves is as high as this quantile of the highest one, and as so many nepers at least."""
INK, FAINT, PAPER, LINE = (30, 30, 34), (225, 225, 228), (255, 255, 255), (31, 78, 140)


class Examples:
    """The first clip of each game at each stage.

    Args:
        sample_rate: of all clips, in Hz.
    """

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self.clips: dict[str, dict[str, Tensor]] = {}

    def add(self, stage: str, game: str, clip: Tensor) -> None:
        """Keeps a clip (C, N), unless there is one of this game and stage already."""
        self.clips.setdefault(game, {}).setdefault(stage, clip)


def save_picture(examples: Examples, path: Path) -> None:
    """Draws the examples into a PNG file, which appears whole."""
    with atomic_path(path) as temporary:
        draw_stages(examples).save(temporary, "PNG")


def draw_stages(examples: Examples) -> Image.Image:
    """One row for each game, one column for each stage that is there.

    Colours mean decibels below the loudest moment of a clip; the onset curves of a game have the same scale.
    """
    row_height = CAPTION + SPECTROGRAM + CURVE + GAP
    size = (LEFT + len(COLUMNS) * (WIDTH + GAP), TOP + len(examples.clips) * row_height + NOTE)
    image = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(image)
    for column, title in enumerate(COLUMNS.values()):
        draw.text((LEFT + column * (WIDTH + GAP), 8), title, INK, ImageFont.load_default(17))
    for row, (game, clips) in enumerate(examples.clips.items()):
        top = TOP + row * row_height
        _draw_upright(image, game, top + CAPTION)
        shown = {stage: clip[:, : int(MOST_SECONDS * examples.sample_rate)] for stage, clip in clips.items()}
        curves = {stage: onset_curve(clip, examples.sample_rate) for stage, clip in shown.items()}
        highest = [float(curve.quantile(HIGHEST_SHARE)) for curve in curves.values() if len(curve)]
        full = max([LOWEST_FULL, *highest])
        for column, stage in enumerate(COLUMNS):
            if stage in shown:
                at = (LEFT + column * (WIDTH + GAP), top)
                _draw_cell(image, at, shown[stage], examples.sample_rate, curves[stage], full)
    note = "below each spectrogram: the onset curve, with a line every second"
    draw.text((size[0] - GAP, size[1] - 8), note, INK, ImageFont.load_default(13), anchor="rs")
    return image


def _draw_cell(
    image: Image.Image, at: tuple[int, int], clip: Tensor, sample_rate: int, curve: Tensor, full: float
) -> None:
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(13)
    found, seconds = rhythm_of_curve(curve), clip.shape[1] / sample_rate
    tempo = "" if found.tempo is None else f" at {found.tempo:.0f}/min"
    caption = f"beat {found.beat:.2f}{tempo}, sharpness {sharpness(clip, sample_rate):.2f}, onsets {found.onsets:.1f}"
    x, y = at[0], at[1] + CAPTION
    draw.text((x, y - 4), caption, INK, font, anchor="ls")
    pixels = spectrogram_pixels(_decibels(clip, sample_rate)[None], low=SOFTEST, high=0.0)
    spectrogram = Image.fromarray(pixels).resize((WIDTH, SPECTROGRAM), Image.Resampling.BILINEAR)
    image.paste(spectrogram, (x, y))
    base = y + SPECTROGRAM + CURVE - 1
    for second in range(int(seconds) + 1):
        across = x + second / seconds * WIDTH
        draw.line([(across, y + SPECTROGRAM), (across, base)], FAINT)
    places = (torch.arange(len(curve)) + 1) * HOP_SECONDS / seconds * WIDTH + x
    heights = base - (curve / full).clamp(max=1) * (CURVE - 4)
    if len(curve) > 1:
        draw.line(list(zip(places.tolist(), heights.tolist(), strict=True)), LINE, 1)
    draw.line([(x, base), (x + WIDTH - 1, base)], INK)


def _decibels(clip: Tensor, sample_rate: int) -> Tensor:
    """The mel spectrogram of a clip's mono mix, (F, T), in decibels below the loudest; all lowest in silence."""
    hop = sample_rate // FRAMES_PER_SECOND
    config = MelSpectrogram.Config(
        sample_rate=sample_rate,
        hop_length=hop,
        window_length=25 * hop,
        n_mels=BANDS,
        f_max=sample_rate / 2,
        num_channels=1,
    )
    mel = MelSpectrogram(config).mel(clip.mean(dim=0, keepdim=True)[None])[0, 0]
    return 20 * (mel / mel.max().clamp(min=1e-9)).clamp(min=1e-6).log10()


def _draw_upright(image: Image.Image, text: str, top: int) -> None:
    font = ImageFont.load_default(16)
    label = Image.new("RGB", (int(font.getlength(text)) + 4, 22), PAPER)
    ImageDraw.Draw(label).text((2, 2), text, INK, font)
    image.paste(label.rotate(90, expand=True), (2, top))
