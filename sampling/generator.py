"""From a request to a clip: the one door to generating, for the command line, the page, demos and evaluation."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

import torch

from dualdiffusion.conditioning import GAMES, Conditioning
from dualdiffusion.contracts import Autoencoder, Denoiser, Format
from dualdiffusion.controls import AnyControl, check_controls
from dualdiffusion.errors import UserError, one_line
from dualdiffusion.labels import Labels
from dualdiffusion.machine.memory import allocation_text, is_out_of_memory
from dualdiffusion.model.folder import ModelFolder
from dualdiffusion.model.loaded import LoadedModel, load_model
from dualdiffusion.model.shipped import reference
from sampling.batch import BATCH_COLUMNS, Batch, Result, columns_together
from sampling.fingerprints import Weights, load_weak_weights, load_weights, names_weak
from sampling.guidance import Guidance, check_scales
from sampling.progress import Cancelled, OnStep, Progress, StepReport
from sampling.request import Request
from sampling.solvers.samplers import ONE_ITEM_AT_A_TIME
from sampling.tasks.canvas import Grid, check_length, most_columns

__all__ = ["Cancelled", "Generator", "OnStep", "Result", "StepReport"]


MORE_MEMORY = "close other programs that use the memory, or take another device (--device cpu is slower)"


class Generator:
    """A model that is ready to generate.

    Args:
        unets: denoisers by the name of their EMA, of which `fingerprint` tells as one.
        ema: of requests that name none; None is the model's default.
        load_unet: loads those that are not among `unets`.
        load_weak: loads the weaker network that a request's guidance names, or gives None.
        window_columns: latent columns of the UNet's training crops; None, where that is not known, takes clips of any
            length whole.
        controls: what one may ask for beside games, by id.
    """

    def __init__(
        self,
        *,
        format: Format,
        vae: Autoencoder,
        unets: dict[str | None, Denoiser],
        labels: Labels,
        fingerprint: str,
        model: str = "",
        load_unet: Callable[[str | None], Weights] | None = None,
        load_weak: Callable[[Guidance], Weights | None] | None = None,
        window_columns: int | None = None,
        ema: str | None = None,
        controls: Mapping[str, AnyControl] | None = None,
    ) -> None:
        self.format, self.vae, self.labels = format, vae, labels
        self.fingerprint, self.model, self.window_columns = fingerprint, model, window_columns
        self._load_unet, self._load_weak, self._ema = load_unet, load_weak, ema
        self.controls = dict(controls or {})
        self._vae_fingerprint, _, of_unet = fingerprint.partition("-")
        self._unets = {name: Weights(denoiser, of_unet) for name, denoiser in unets.items()}
        self._weak: dict[tuple[Path | None, str | None], Weights | None] = {}
        self.position = vae.latent_position(format.position()).to(vae.device)

    @classmethod
    def load(cls, folder: ModelFolder, device: torch.device | str | None = None) -> Self:
        """Loads a model folder onto a device; None is a GPU where there is one.

        Raises:
            UserError: the folder is not a whole model, or the device is not there or too small for it.
        """
        if device is not None:
            _check_device(device)
        try:
            return cls.of(load_model(folder, device=device))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            asked = allocation_text(error)
        # Outside of the except block, which would keep the half of the model that was loaded.
        _empty_cache()
        raise UserError(f"out of memory while loading {folder.path} ({asked}); {MORE_MEMORY}")

    @classmethod
    def of(cls, model: LoadedModel) -> Self:
        """Generates with a loaded model. A request that names no EMA gets the one that the model was loaded with."""
        folder, device = model.folder, model.device
        return cls(
            format=model.format,
            vae=model.vae,
            unets={model.ema: model.denoiser},
            labels=model.labels,
            fingerprint=model.fingerprint,
            model=reference(folder),
            load_unet=lambda ema: load_weights(folder, ema, device),
            load_weak=lambda guidance: load_weak_weights(guidance, folder, device),
            window_columns=model.window_columns,
            ema=model.ema,
            controls=model.controls,
        )

    @property
    def sample_rate(self) -> int:
        """Of the audio, in Hz."""
        return self.format.sample_rate

    @property
    def is_unconditional(self) -> bool:
        """Whether clips are made without games: see `ModelFolder.asks_for_games`."""
        denoiser = self.unet(self._ema)
        return not denoiser.label_dim and not denoiser.told

    @property
    def noise_of_latents(self) -> float:
        """Standard deviation of the noise that the VAE itself adds to normalised latents, in the channel that has least
        of it."""
        return float(self.vae.noise_std / self.vae.latents_std.max())

    @property
    def least_seconds(self) -> float:
        """Length of the shortest clip, a frame of the format."""
        return self.format.hop_length / self.sample_rate

    def unet(self, ema: str | None) -> Denoiser:
        """The denoiser with the weights of an EMA. The default and the one that was asked for last are kept."""
        return self._weights(ema).denoiser

    def _weights(self, ema: str | None) -> Weights:
        ema = ema or self._ema
        if ema not in self._unets:
            self._forget_unets()
            self._unets[ema] = self._load_unet(ema)
        return self._unets[ema]

    def _forget_unets(self) -> None:
        for other in [name for name in self._unets if name != self._ema]:
            del self._unets[other]

    def free_memory(self) -> None:
        """Gives back what the next request may do without: other networks, and what torch holds for later."""
        self._forget_unets()
        self._weak.clear()
        _empty_cache()

    def weak_unet(self, guidance: Guidance) -> Denoiser | None:
        """The weaker network that guidance names, or None; the last one is kept for the next request."""
        weak = self._weak_weights(guidance)
        return weak and weak.denoiser

    def _weak_weights(self, guidance: Guidance) -> Weights | None:
        if self._load_weak is None or not names_weak(guidance):
            return None
        key = (guidance.weak_model, guidance.weak_ema)
        if key not in self._weak:
            self._weak.clear()  # before the next one is loaded
            self._weak[key] = self._load_weak(guidance)
        return self._weak[key]

    def fingerprint_of(self, request: Request) -> str:
        """Identifies the weights that a request names, as they are in memory; they are loaded if need be."""
        parts = [self._vae_fingerprint, self._weights(request.ema).fingerprint]
        weak = self._weak_weights(request.guidance)
        return "-".join(part for part in (*parts, weak and weak.fingerprint) if part)

    def grid(self, denoiser: Denoiser) -> Grid:
        """What latents are in time."""
        hop = self.format.hop_length
        multiple = denoiser.size_multiple
        return Grid(self.sample_rate, hop, hop * self.vae.downsampling, multiple, self.window_columns)

    def generate(self, request: Request, *, on_step: OnStep | None = None) -> Result:
        """Generates a clip. The same request gives the same clip.

        Args:
            on_step: called after every step of sampling and phase recovery, and between the windows of a long clip;
                what it raises ends the generation.

        Raises:
            UserError: the model does not know a game or an EMA, or cannot make such a length, the source is not what
                it should be, or memory ran out.
        """
        return next(self.generate_many([request], on_step=on_step))

    def generate_many(self, requests: Sequence[Request], *, on_step: OnStep | None = None) -> Iterator[Result]:
        """Generates clips, in order. Each is what `generate` makes of its request alone: on a CPU bit for bit, as they
        are sampled one after the other there; on a GPU, requests that differ in seed and games alone make batches,
        which are halved where the memory is too small for them.

        Raises:
            UserError: as `generate`; lengths are looked at before the first clip is made.
        """
        if self._ema:  # so that the clip says which weights made it
            requests = [r.model_copy(update={"ema": r.ema or self._ema}) for r in requests]
        try:
            yield from self._generate_batches(requests, on_step)
            return
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            asked = allocation_text(error)
        # Outside of the except block, which would keep the tensors of the steps that failed.
        self.free_memory()
        longest = max(request.seconds for request in requests)
        raise UserError(f"out of memory at {longest:g} s ({asked}); ask for a shorter clip, {MORE_MEMORY}")

    def _generate_batches(self, requests: Sequence[Request], on_step: OnStep | None) -> Iterator[Result]:
        needed = not self.is_unconditional
        for request in requests:  # before hours are spent on those before it
            request.check_games(self.labels, needed=needed)
            check_length(request, self.grid(self.unet(self._ema)))
            check_controls(request.controls, self.controls)
            self._check_scales(request.guidance)
        requests = [request.named_as(self.labels) for request in requests]
        done, waiting = 0, deque(self._batches(requests))
        while waiting:
            batch, begun = waiting.popleft(), done
            try:
                for result in Batch(self, batch, Progress(on_step, done, len(batch), len(requests))).results():
                    yield result
                    done += 1
                continue
            except (RuntimeError, MemoryError) as error:
                if len(batch) == 1 or not is_out_of_memory(error):
                    raise
            # Outside of the except block, which would keep the batch's tensors alive.
            _empty_cache()
            left = batch[done - begun :]
            half = (len(left) + 1) // 2
            waiting.extendleft(part for part in (left[half:], left[:half]) if part)

    def _check_scales(self, guidance: Guidance) -> None:
        denoiser = self.unet(self._ema)
        check_scales(guidance, [*([GAMES] if denoiser.label_dim else []), *denoiser.told])

    def _batches(self, requests: Sequence[Request]) -> Iterator[list[Request]]:
        """Requests that are sampled together."""
        if self.vae.device.type == "cpu":  # the last bits of a convolution may depend on the batch
            yield from ([request] for request in requests)
            return
        for _, group in itertools.groupby(requests, key=lambda r: r.model_copy(update={"seed": 0, "games": {}})):
            group = list(group)
            together = columns_together(self.format, BATCH_COLUMNS)
            size = max(1, together // most_columns(group[0], self.grid(self.unet(group[0].ema))))
            size = 1 if group[0].sampler in ONE_ITEM_AT_A_TIME else size
            yield from (group[at : at + size] for at in range(0, len(group), size))

    def conditioning(self, mixes: Sequence[dict[str, float]], label_dim: int) -> Conditioning:
        """Mixes of games as a network with `label_dim` labels is told them, one row each; none where one is empty, as
        an unconditional model's is.

        A network may know fewer games than there are: LabelEmbedding leaves the others out of the mix.
        """
        if not label_dim or not all(mixes):
            return Conditioning()
        rows = [self.labels.vector(mix) for mix in mixes]
        return Conditioning(torch.tensor(rows, device=self.vae.device))


def _check_device(device: torch.device | str) -> None:
    """Puts one number there.

    Raises:
        UserError: there is no such device, or this torch has no code for it.
    """
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        if is_out_of_memory(error):  # it is there: the model's loading tells what is wrong
            return
        reason = one_line(str(error).strip().splitlines()[0]) if str(error).strip() else type(error).__name__
        raise UserError(f"--device {device}: {reason}; take cpu, or leave it out for what this machine has") from None


def _empty_cache() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
