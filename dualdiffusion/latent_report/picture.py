"""The picture of a latent report: a clip, its reconstruction, their difference, and its latents, with axes."""

from __future__ import annotations

import math

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from dualdiffusion.latent_report.report import LatentReport
from dualdiffusion.pictures.spectrogram import spectrogram_pixels

WIDTH, HEIGHT = 900, 260  # of a panel
LEFT, RIGHT, TITLE, BELOW = 80, 90, 34, 40  # margins around a panel
INK, PAPER = (30, 30, 34), (255, 255, 255)
TICKS_HZ = (50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000)
MOST_CHANNELS = 8
TICK_HEIGHT = 15


def draw_report(report: LatentReport) -> Image.Image:
    """All panels, one below the other, over the same seconds."""
    clip, seconds = report.shown, report.seconds
    low, high = (float(clip.x.mean(dim=0).quantile(q)) for q in (0.02, 0.998))
    difference = (clip.output - clip.x).abs()
    of_rows = [("Hz", [(row_of(hz, report.frequencies), _short(hz)) for hz in TICKS_HZ])]
    panels = [
        ("Input: " + clip.name, spectrogram_pixels(clip.x, low=low, high=high), (low, high), of_rows),
        (
            "Reconstruction, in the same colours",
            spectrogram_pixels(clip.output, low=low, high=high),
            (low, high),
            of_rows,
        ),
        (
            "Difference (absolute), in colours over the same range",
            spectrogram_pixels(difference, low=0, high=high - low),
            (0, high - low),
            of_rows,
        ),
    ]
    for channel, values in enumerate(clip.mode[:MOST_CHANNELS]):
        mean, std = float(values.mean()), max(float(values.std()), 1e-6)
        bounds = (mean - 2.5 * std, mean + 2.5 * std)
        title = f"Latent channel {channel} (mode, not normalised)"
        rows = len(values)
        ticks = [("row", [((row + 0.5) / rows, str(row)) for row in range(0, rows, max(1, rows // 4))])]
        panels.append((title, spectrogram_pixels(values[None], low=bounds[0], high=bounds[1]), bounds, ticks))
    return _stack(panels, seconds)


def row_of(hz: float, frequencies: Tensor) -> float:
    """Where a frequency lies between the lowest edge (0) and the highest (1) of the rows; outside: not in [0, 1]."""
    centres = frequencies.double()
    if not float(centres[0]) <= hz <= float(centres[-1]):
        return -1.0
    above = int(torch.searchsorted(centres, torch.tensor(hz, dtype=centres.dtype)).clamp(1, len(centres) - 1))
    share = (hz - float(centres[above - 1])) / float(centres[above] - centres[above - 1])
    return (above - 1 + share + 0.5) / len(centres)


def _stack(panels: list, seconds: float) -> Image.Image:
    heights = [HEIGHT if index < 3 else HEIGHT // 2 for index in range(len(panels))]
    size = (LEFT + WIDTH + RIGHT, sum(height + TITLE + BELOW for height in heights) + 10)
    image = Image.new("RGB", size, PAPER)
    top = 0
    for (title, pixels, bounds, rows), height in zip(panels, heights, strict=True):
        _panel(image, top, height, title, pixels, bounds, rows, seconds)
        top += height + TITLE + BELOW
    return image


def _panel(
    image: Image.Image,
    top: int,
    height: int,
    title: str,
    pixels: np.ndarray,
    bounds: tuple[float, float],
    rows: list[tuple[str, list[tuple[float, str]]]],
    seconds: float,
) -> None:
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(14)
    y0, y1 = top + TITLE, top + TITLE + height
    # Enlarged without smoothing, so that single latents stay visible.
    image.paste(Image.fromarray(pixels).resize((WIDTH, height), Image.Resampling.NEAREST), (LEFT, y0))
    draw.rectangle((LEFT, y0, LEFT + WIDTH - 1, y1 - 1), outline=INK)
    draw.text((LEFT, y0 - 6), title, INK, ImageFont.load_default(16), anchor="ls")
    unit, ticks = rows[0]
    draw.text((LEFT - 10, y0 - 6), unit, INK, font, anchor="rs")
    above = y0 - TICK_HEIGHT
    for share, text in reversed(ticks):  # from the top; those too close to the last one would be written over it
        y = y1 - share * height
        if 0 <= share <= 1 and y >= above + TICK_HEIGHT:
            above = y
            draw.line((LEFT - 5, y, LEFT, y), INK)
            draw.text((LEFT - 9, y), text, INK, font, anchor="rm")
    step = 10 ** math.floor(math.log10(seconds)) / (1 if seconds / 10 ** math.floor(math.log10(seconds)) > 4 else 4)
    for k in range(int(seconds / step + 1e-6) + 1):
        x = LEFT + k * step / seconds * WIDTH
        draw.line((x, y1, x, y1 + 5), INK)
        draw.text((x, y1 + 8), f"{k * step:g}", INK, font, anchor="mt")
    draw.text((LEFT + WIDTH + 12, y1 + 8), "seconds", INK, font, anchor="lt")
    _scale(image, draw, font, y0, height, bounds)


def _scale(image: Image.Image, draw: ImageDraw.ImageDraw, font: object, y0: int, height: int, bounds: tuple) -> None:
    """What the colours mean, to the right of a panel."""
    ramp = spectrogram_pixels(torch.linspace(0, 1, height)[None, :, None].expand(1, height, 14), low=0, high=1)
    x = LEFT + WIDTH + 12
    image.paste(Image.fromarray(ramp), (x, y0))
    for y, value, anchor in ((y0, bounds[1], "lt"), (y0 + height, bounds[0], "lb")):
        draw.text((x + 20, y), f"{value:.2f}", INK, font, anchor=anchor)


def _short(hz: float) -> str:
    return f"{hz / 1000:g}k" if hz >= 1000 else f"{hz:g}"
