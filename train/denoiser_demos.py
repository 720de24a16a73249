"""Demos of a denoiser in training: clips made by the code that the command line and the page use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dualdiffusion.config import validate
from dualdiffusion.data.latent_crops import latents_image
from dualdiffusion.errors import UserError
from dualdiffusion.labels import Labels
from dualdiffusion.pictures.spectrogram import spectrogram_pixels
from sampling.generator import Generator
from sampling.recommended import Asked, Recommended
from sampling.request import Request
from train.module_trainer import Demo


@dataclass(frozen=True)
class DemoSettings:
    """Which demos are made.

    Attributes:
        games: of the first so many games.
        requests: to make demos of instead, as far as they differ from what is recommended.
        seconds: length of each.
        steps: of sampling; None: as many as are recommended.
        cfg_scales: guidance scales of each game; None: the recommended one.
        recommended: what is asked of the model where nothing is said.
    """

    games: int
    requests: tuple[dict[str, Any], ...]
    seconds: float
    steps: int | None
    cfg_scales: Sequence[float] | None
    recommended: Recommended

    def check(self, labels: Labels, *, needed: bool) -> None:
        """Games that a demo names and the model does not know would end the run at its first demo, at every start.

        Args:
            needed: whether the model has to be told games.

        Raises:
            UserError: such a demo.
        """
        for number, fields in enumerate(self.requests):
            if "games" in fields:
                try:
                    request = validate(Request, fields, f"module_trainer.demos.{number}")
                    request.check_games(labels, needed=needed)
                except UserError as error:
                    raise UserError(f"module_trainer.demos.{number}: {error}") from None

    def made_by(self, generator: Generator) -> list[Demo]:
        """The clips."""
        if self.requests:
            return [self._of_request(generator, *asked) for asked in enumerate(self.requests, start=1)]
        scales = (None,) if self.cfg_scales is None else self.cfg_scales
        mixes = [{name: 1.0} for name in generator.labels.names[: self.games]]
        if generator.is_unconditional:  # and hears no scale
            mixes, scales = [{}] * min(1, self.games), (None,)
        return [self._of_games(generator, mix, scale) for mix in mixes for scale in scales]

    def _of_games(self, generator: Generator, games: dict[str, float], cfg_scale: float | None) -> Demo:
        said = {} if cfg_scale is None else {"cfg_scale": cfg_scale}
        request = self._request({"games": games, **said})
        name = f"{' '.join(games)}/cfg{request.cfg_scale:g}" if games else "clip"
        return _made(generator, name, request)

    def _of_request(self, generator: Generator, number: int, fields: dict[str, Any]) -> Demo:
        first = {} if generator.is_unconditional else {generator.labels.names[0]: 1.0}
        request = self._request({"games": first, **fields})
        return _made(generator, f"{number}/{' '.join(request.games) or 'clip'}", request)

    def _request(self, fields: dict[str, Any]) -> Request:
        steps = {} if self.steps is None else {"steps": self.steps}
        # The weights of a weaker network may not exist yet.
        without = ("guidance.weak_ema=null", "guidance.weak_scale=1")
        asked = Asked({"seconds": self.seconds, **steps, **fields}, without)
        return validate(Request, asked.over(self.recommended), "demos")


def _made(generator: Generator, name: str, request: Request) -> Demo:
    result = generator.generate(request)
    images = {"spectrogram": spectrogram_pixels(result.spectrogram), "latents": latents_image(result.latents)}
    return Demo(name, result.audio, result.sample_rate, images)
