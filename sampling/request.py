"""What one may ask of a trained model: one typed request for the command line, the page and the trainer's demos.

Imports no torch, so that the web process and `--help` can use it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError, ValidationInfo, field_validator, model_validator

from dualdiffusion.config import Config, InvalidPartError, nearest
from dualdiffusion.files import from_home
from dualdiffusion.labels import Labels, normal_form
from sampling.guidance import Guidance
from sampling.solvers.options import options_config
from sampling.solvers.samplers import SAMPLERS
from sampling.solvers.schedules import EDM_RHO, SCHEDULES, ErrorOf

MAX_SECONDS = 600.0
DEFAULT_STRENGTH = 0.6
NO_GAME = "at least one game needs a weight other than 0"

Weight = Annotated[float, Field(ge=-100, le=100)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Control = Number | str | dict[str, Weight] | tuple[Number, ...]
Seed = Annotated[int, Field(ge=0, lt=2**53)]
Seconds = Annotated[float, Field(ge=0, le=MAX_SECONDS)]


def _one_of(names: list[str]) -> AfterValidator:
    def check(value: str) -> str:
        if value not in names:
            hint = nearest(value, names)
            raise ValueError(f"must be one of {', '.join(names)}" + (f"; did you mean {hint[0]}?" if hint else ""))
        return value

    return AfterValidator(check)


def _named_once(games: dict[str, float]) -> dict[str, float]:
    if games and not any(games.values()):
        raise ValueError(NO_GAME)
    named = {normal_form(name): weight for name, weight in games.items()}
    if len(named) < len(games):
        raise ValueError("a game stands there twice, with its accent written in two ways; leave out one of the two")
    return named


def _some_weight(games: dict[str, float]) -> dict[str, float]:
    if not games:
        raise ValueError(NO_GAME)
    return _named_once(games)


class Source(Config):
    """Audio that a clip starts from: all of it is changed, or parts are made anew (`inpaint`, `extend_before`, ...)."""

    path: Annotated[str, Field(min_length=1), AfterValidator(lambda path: str(from_home(Path(path))))]
    """An audio file of any kind that a dataset is made from; resampled, and brought to the model's channels."""
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    """Of the file; filled in when a clip is made. A file that has changed since then is refused."""
    start: Annotated[float, Field(ge=0)] = 0.0
    """Where the part that is used begins, in seconds."""
    seconds: Annotated[float, Field(gt=0, le=MAX_SECONDS)] | None = None
    """Length of the part that is used; null: to the end of the file."""
    strength: Annotated[float, Field(ge=0, le=1)] | None = None
    """How much of what is not kept is changed. 0: nothing; 1: made from pure noise, from sigma_max on; between, the
    source is given noise of (sigma_min^(1/rho) + strength * (sigma_max^(1/rho) - sigma_min^(1/rho)))^rho, and as large
    a share of the steps is taken (rho 7 where it is null). null: 1 where parts are made anew, else 0.6."""


class Request(Config):
    """A clip to generate. The same request on the same model and machine gives the same samples, bit for bit."""

    games: Annotated[dict[str, Weight], AfterValidator(_named_once)]
    """Weight of each game in the mix; only ratios matter, negative pushes away. {}: none, of a model that is told no
    games, and of no other."""
    controls: dict[str, Control | None] = Field(default_factory=dict)
    """What else the model is told, by the names that it lists, such as {"tempo": 120}: a number, a name, weights by
    name, or values along the clip, evenly spaced; null: nothing of it. What is not named here is as usual for the
    games, another value for each seed, or as in the source."""
    seed: Seed = 0
    """Of the initial noise. Below 2^53, which a browser's numbers hold exactly."""
    seconds: Annotated[float, Field(gt=0, le=MAX_SECONDS)] = 8.0
    """Length of the clip, in seconds; with a source, which has its own, filled in when the clip is made."""
    steps: Annotated[int, Field(ge=1, le=1000)] = 30
    """Noise levels to go through."""
    cfg_scale: Annotated[float, Field(ge=0, le=100)] = 2.0
    """Classifier-free guidance: 1 is off, larger follows the games more closely."""
    sampler: Annotated[str, _one_of(list(SAMPLERS))] = "heun"
    """Name of a sampler in sampling/solvers/."""
    schedule: Annotated[str, _one_of(list(SCHEDULES))] = "edm"
    """Name of a schedule in sampling/solvers/schedules.py."""
    sigma_max: Annotated[float, Field(gt=0, le=1000)] = 80.0
    """First noise level, in units of the latents' standard deviation."""
    sigma_min: Annotated[float, Field(gt=0, le=10)] = 0.01
    """Last noise level before 0."""
    sigma_end: Annotated[float, Field(gt=0, le=10)] | Literal["latents"] | None = None
    """Noise level to stop at, instead of going on by sigma_min to 0; that much noise stays. `latents`: that of the
    VAE's own latents, below which there is nothing to find; where a source's strength starts below it, 0. null: 0."""
    rho: Annotated[float, Field(ge=1, le=100)] | None = None
    """How much a schedule that has such an exponent crowds towards low noise; null: 7 for edm (EDM, equation 5), 1 for
    polyexponential."""
    ema: str | None = None
    """Weights of the UNet: the name of an EMA, `raw`, or null for the model's default."""
    phase_iterations: Annotated[int, Field(ge=0, le=1000)] | None = None
    """Iterations of phase recovery; null for the format's own setting."""
    guidance: Guidance = Guidance()
    """How guidance is applied, beside its scale."""
    sampler_options: dict[str, int | float | str] = Field(default_factory=dict)
    """Options of the sampler, such as s_churn of heun, and of all samplers reinjection: the share of each step's way
    down that fresh noise undoes."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the UNet's arithmetic. bfloat16 gives nearly the same clip, faster on a GPU, and on a CPU with AVX512-BF16 or
    AMX; on other CPUs it is far slower. Each of the two repeats itself bit for bit."""
    noise: Literal["white", "brownian"] = "white"
    """What samplers that add noise draw from: independent noise, or one Brownian path of each clip, so that another
    number of steps gives nearly the same clip."""
    games_end: Annotated[dict[str, Weight], AfterValidator(_some_weight)] | None = None
    """Mix at the end of the clip: `games` holds in the first quarter, this in the last, and between them one turns into
    the other. In a loop, `games` holds at the ends and this in the middle."""
    window_seconds: Annotated[float, Field(gt=0, le=MAX_SECONDS)] | None = None
    """Longer clips are made in overlapping windows of this length; null: as long as the crops of training."""
    loop: bool = False
    """The end goes on into the beginning without a seam; the length is exact."""
    variation_seed: Seed | None = None
    """Another seed, towards whose noise that of `seed` is moved."""
    variation_strength: Annotated[float, Field(ge=0, le=1)] = 0.0
    """How far: 0 is the clip of `seed`, 1 that of `variation_seed`."""
    source: Source | None = None
    """Audio to start from; null: nothing but noise."""
    inpaint: tuple[tuple[Seconds, Seconds], ...] = ()
    """Regions of the source, each its start and end in seconds, that are made anew; all else is kept as it is."""
    extend_before: Seconds = 0.0
    """Seconds to make before the source, which is kept as it is."""
    extend_after: Seconds = 0.0
    """Seconds to make after it."""

    @model_validator(mode="after")
    def _ordered(self) -> Request:
        if self.sigma_min >= self.sigma_max:
            raise ValueError(f"sigma_min: {self.sigma_min} must be below sigma_max, which is {self.sigma_max}")
        if isinstance(self.sigma_end, float) and self.sigma_end >= self.sigma_max:
            raise ValueError(f"sigma_end: {self.sigma_end} must be below sigma_max, which is {self.sigma_max}")
        if isinstance(self.sigma_end, float) and self.strength > 0 and self.sigma_end >= self.first_level:
            raise ValueError(
                f"sigma_end: {self.sigma_end:.3g} must be below the noise level that sampling starts at, "
                f"{self.first_level:.3g} with this strength"
            )
        return self

    @field_validator("sampler_options")
    @classmethod
    def _known_options(cls, options: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        if "sampler" in info.data:  # else the sampler's own error is told
            config = options_config(info.data["sampler"])
            try:
                config.from_json(options)
            except ValidationError as error:
                raise InvalidPartError(config, error) from None
        return options

    @model_validator(mode="after")
    def _tasks_fit_together(self) -> Request:
        if self.variation_strength > 0 and self.variation_seed is None:
            raise ValueError("variation_strength: needs a variation_seed")
        if self.source is None:
            if self.keeps_source:
                raise ValueError("inpaint, extend_before, extend_after: need a source; give source.path")
            return self
        if self.loop:
            raise ValueError("loop: cannot be made from a source; leave out one of the two")
        if self.extended_seconds and self.strength < 1:
            raise ValueError("source.strength: must be 1 or null with extend_before and extend_after")
        if self.extended_seconds + (self.source.seconds or 0) > MAX_SECONDS:
            raise ValueError(f"extend_before, extend_after: the whole must not be longer than {MAX_SECONDS:g} s")
        _check_regions(self.inpaint, self.source.seconds)
        return self

    @property
    def extended_seconds(self) -> float:
        """What is made before and after the source."""
        return self.extend_before + self.extend_after

    @property
    def keeps_source(self) -> bool:
        """Whether parts of the source are kept as they are."""
        return bool(self.inpaint) or self.extended_seconds > 0

    @property
    def strength(self) -> float:
        """How much of what is not kept is changed, 0 to 1; 1 without a source."""
        if self.source is None:
            return 1.0
        if self.source.strength is None:
            return 1.0 if self.keeps_source else DEFAULT_STRENGTH
        return self.source.strength

    @property
    def first_level(self) -> float:
        """Noise level that sampling starts at: sigma_max, or less where a source is changed in part."""
        if self.strength == 1:
            return self.sigma_max
        rho = self.rho or EDM_RHO
        low, high = self.sigma_min ** (1 / rho), self.sigma_max ** (1 / rho)
        return (low + self.strength * (high - low)) ** rho

    def noise_levels(self, error: ErrorOf | None = None, latents: float | None = None) -> list[float]:
        """The noise levels to go through, falling: those of the schedule from where `strength` starts, and at the end 0
        or sigma_end.

        At the edm schedule these are the last levels of the whole one where strength * (steps - 1) is a whole number.

        Args:
            error: of the model, for schedules that need it; see `sampling.solvers.schedules`.
            latents: the noise of its VAE's own latents, for a sigma_end that is that; None: not known, taken for 0.
        """
        start, steps = self.first_level, round(self.strength * (self.steps - 1)) + 1
        end = latents if self.sigma_end == "latents" else self.sigma_end
        schedule = SCHEDULES[self.schedule]
        if not end or end >= start:  # of latents' noise that a source is given less of, nothing is to be left
            return schedule(steps, sigma_min=self.sigma_min, sigma_max=start, rho=self.rho, error=error)
        return schedule(steps + 1, sigma_min=end, sigma_max=start, rho=self.rho, error=error)[:-1]

    def check_games(self, labels: Labels, *, needed: bool) -> None:
        """
        Args:
            needed: see `ModelFolder.asks_for_games`.

        Raises:
            UserError: a game that the model does not know, or none where it needs one.
        """
        if self.games or needed:
            self.label_vector(labels)

    def named_as(self, labels: Labels) -> Request:
        """The same, with the games' names as the labels have them."""
        end = None if self.games_end is None else labels.named(self.games_end)
        return self.model_copy(update={"games": labels.named(self.games), "games_end": end})

    def label_vector(self, labels: Labels) -> list[float]:
        """The games as the vector that the UNet is given; see `Labels.vector`."""
        if self.games_end is not None:
            labels.vector(self.games_end)  # an unknown game is told before anything is made
        return labels.vector(self.games)


def _check_regions(regions: tuple[tuple[float, float], ...], seconds: float | None) -> None:
    before = 0.0
    for start, end in sorted(regions):
        name = f"inpaint: the region from {start:g} to {end:g} s"
        if end <= start:
            raise ValueError(f"{name} ends before it starts")
        if start < before:
            raise ValueError(f"{name} begins in the one before it")
        if seconds is not None and end > seconds:
            raise ValueError(f"{name} leaves the source, which has {seconds:g} s")
        before = end
