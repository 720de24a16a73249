"""A clip in Python: audio, a file, a player in a notebook. `dualdiffusion.load("chiptune").generate(...)` makes one."""

from __future__ import annotations

import base64
import html
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dualdiffusion.config import validate
from dualdiffusion.errors import UserError
from dualdiffusion.files import from_home
from dualdiffusion.model.loaded import LoadedModel
from sampling.generator import Generator, Result
from sampling.output.clips import save
from sampling.output.containers import encode
from sampling.output.loudness import levelled
from sampling.output.settings import OutputSettings
from sampling.recommended import Asked, read_recommended
from sampling.request import Request
from sampling.without_effect import other_length, without_effect


@dataclass(frozen=True, repr=False)
class Clip:
    """A generated clip.

    Attributes:
        result: the clip with its request, spectrogram and latents.
        device: on which it was made.
    """

    result: Result
    device: torch.device

    @property
    def audio(self) -> Tensor:
        """(C, N) in [-1, 1]."""
        return self.result.audio

    @property
    def sample_rate(self) -> int:
        """Of the audio, in Hz."""
        return self.result.sample_rate

    @property
    def request(self) -> Request:
        """What the clip was made of, with all that was recommended or left to the defaults."""
        return self.result.request

    def save(self, path: str | Path, **settings: Any) -> Path:
        """Writes the clip with its request in the tags, as the command line does; atomic, and never over another file.

        Args:
            path: the suffix says the format: .flac, .wav, .mp3 or .ogg.
            settings: `bits`, `loudness` in LUFS, `true_peak` in dBTP; see sampling/output/settings.py.

        Returns:
            Where the clip is: with a number in its name where that name was taken.

        Raises:
            UserError: another suffix, or settings that do not fit.
        """
        try:
            path = from_home(Path(path))
        except ValueError as error:
            raise UserError(str(error)) from None
        output = validate(OutputSettings, {"format": path.suffix.lstrip("."), **settings}, str(path))
        return save(self.result, path.parent, output, name=path.stem, device=self.device)

    def __repr__(self) -> str:
        seconds = self.audio.shape[-1] / self.sample_rate
        return f"<clip: {_mix(self.request)}, seed {self.request.seed}, {seconds:g} s at {self.sample_rate} Hz>"

    def _repr_html_(self) -> str:
        """A player that holds the audio itself, so that a notebook that is passed on still plays."""
        output = OutputSettings()
        data = encode(levelled(self.audio, self.sample_rate, output), self.sample_rate, output)
        text = html.escape(f"{_mix(self.request)} (seed {self.request.seed})")
        source = f"data:audio/flac;base64,{base64.b64encode(data).decode()}"
        return f'<figure><figcaption>{text}</figcaption><audio controls src="{source}"></audio></figure>'


def generate(model: LoadedModel, fields: dict[str, Any]) -> Clip:
    """Makes a clip.

    Args:
        fields: of the request; what they do not say is as the model recommends, or else the default.

    Raises:
        UserError: what is asked makes no sense, or is nothing that this model can make.
    """
    asked = Asked(fields).over(read_recommended(model.folder))
    request = validate(Request, asked, "generate")
    for note in without_effect(request, fields):
        warnings.warn(f"generate: {note}", stacklevel=3)
    request.check_games(model.labels, needed=model.folder.asks_for_games())
    model.folder.chosen_ema("unet", request.ema)
    result = Generator.of(model).generate(request)
    for note in (*result.notes, *other_length(fields, result.request)):
        warnings.warn(f"generate: {note}", stacklevel=3)
    return Clip(result, model.device)


def _mix(request: Request) -> str:
    return ", ".join(f"{name} {weight:g}" for name, weight in request.games.items()) or "no game"
