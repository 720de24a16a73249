"""`python -m train sweep`: trains a config once for each combination of some settings, and compares.

Each run has a model folder of its own beside the config's, so that `tensorboard --logdir` of the folder above shows all
of them. A sweep that is run again goes on where it stopped, as every training does.
"""

from __future__ import annotations

import csv
import itertools
import json
import math
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table
from torch.utils.tensorboard import SummaryWriter

from dualdiffusion.config import apply_overrides, names_file, read_config, split_values, validate
from dualdiffusion.errors import UserError
from dualdiffusion.files import write_json
from dualdiffusion.machine.stopping import stopped_by
from dualdiffusion.machine.system import STOP_SIGNALS
from dualdiffusion.model.folder import ModelFolder
from train.train_config import TrainConfig

# Seconds between looks at a run's validation.
LOOK_EVERY = 1.0
ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Run:
    """One combination of the sweep."""

    settings: dict[str, str]
    config: TrainConfig
    losses: dict[int, float] = field(default_factory=dict)
    """Best validation loss, of raw and averaged weights, by samples seen."""
    outcome: str = "not run"

    @property
    def path(self) -> Path:
        """The run folder."""
        return ModelFolder(self.config.model).run_path(self.config.module_trainer.cls.module_name)

    @property
    def best(self) -> float:
        """The best validation loss."""
        return min((loss for loss in self.losses.values() if math.isfinite(loss)), default=math.nan)

    def look(self) -> None:
        """Reads the validation losses that there are."""
        self.losses = validation_losses(self.path / "metrics.csv")


def build_runs(path: Path, overrides: Sequence[str]) -> list[Run]:
    """All combinations, each with a valid config and a model folder of its own.

    An override with several values spans the grid; others hold for all runs. A run of a UNet takes format and VAE from
    the config's own model folder.

    Raises:
        UserError: no override with several values, or a combination that is no valid config.
    """
    axes = [(key, split_values(text)) for key, _, text in (override.partition("=") for override in overrides)]
    if any("=" not in override for override in overrides):
        raise UserError("--set: must be key.path=value, or key.path=value,value,... for what the sweep varies")
    varied = [key for key, values in axes if len(values) > 1]
    if not varied:
        raise UserError("--set: nothing varies; give at least one key several values: --set key=1,2,3")
    if "model" in varied:
        raise UserError("--set model: cannot vary; each run gets a model folder of its own")
    base, runs = read_config(path), []
    for combination in itertools.product(*(values for _, values in axes)):
        chosen = {key: value for (key, _), value in zip(axes, combination, strict=True)}
        data = apply_overrides(base, [f"{key}={value}" for key, value in chosen.items()])
        config = validate(TrainConfig, data, str(path))
        settings = {key: chosen[key] for key in varied}
        own = {"model": f"{config.model}_sweep_{_slug(settings)}"}
        part = config.module_trainer.config
        if getattr(part, "autoencoder", "none") is None and "vae" in ModelFolder(config.model).module_names():
            data = apply_overrides(data, [f"module_trainer.autoencoder={json.dumps(str(config.model))}"])
        runs.append(Run(settings, validate(TrainConfig, {**data, **own}, str(path))))
    folders = [run.config.model for run in runs]
    if len(set(folders)) < len(folders):
        raise UserError(
            "--set: two combinations would share a model folder; give each value once, and files different names"
        )
    return runs


def _slug(settings: dict[str, str]) -> str:
    """Part of a folder name that tells the settings apart: `learning_rate=0.01_batch_size=8`; of files, their names."""
    parts = [
        f"{key.rpartition('.')[2]}={Path(value).stem if names_file(value) else value}"
        for key, value in settings.items()
    ]
    return re.sub(r"[^A-Za-z0-9._=-]+", "-", "_".join(parts))


def validation_losses(path: Path) -> dict[int, float]:
    """Best validation loss by samples seen, from a run's metrics.csv; empty where there is none yet."""
    losses: dict[int, float] = {}
    if not path.exists():
        return losses
    with open(path, newline="", encoding="utf-8") as file:
        for row in csv.reader(file):
            # The last line may be half written.
            if len(row) == 4 and re.fullmatch(r"validation/[^/]+/loss", row[2]):
                samples = int(row[1])
                losses[samples] = min(losses.get(samples, math.inf), _number(row[3]))
    return losses


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.inf


def hopeless(run: Run, others: Sequence[Run], factor: float | None) -> bool:
    """Whether a run's newest validation loss is above `factor` times that of the best other after as many samples."""
    if factor is None or not run.losses:
        return False
    samples = max(run.losses)
    known = [other.losses[samples] for other in others if samples in other.losses]
    return bool(known) and not run.losses[samples] <= factor * min(known)


def sweep(path: Path, overrides: Sequence[str], *, stop_above: float | None = None) -> int:
    """Trains all combinations one after the other and prints a table, best first.

    Args:
        stop_above: stop a run whose validation loss is above so many times that of an earlier one at the same point.

    Returns:
        0; 1 where a run failed; or 128 + the number of the signal that stopped it all.

    Raises:
        UserError: see `build_runs`; or a factor that is not above 1.
    """
    if stop_above is not None and not stop_above > 1:
        raise UserError(f"--stop-above {stop_above:g}: must be above 1")
    runs = build_runs(path, overrides)
    for number, run in enumerate(runs, 1):
        what = ", ".join(f"{key}={value}" for key, value in run.settings.items())
        print(f"sweep: run {number} of {len(runs)}: {what}", flush=True)
        code = train_run(run, runs[: number - 1], stop_above)
        if run.outcome == "interrupted":
            print("sweep: stopped; the same command goes on from here", file=sys.stderr)
            _show(runs)
            return code
        _write_hparams(run)
    _show(runs)
    return int(any(run.outcome.startswith("failed") for run in runs))


def train_run(run: Run, others: Sequence[Run], stop_above: float | None) -> int:
    """Runs the training command to its end, or until the run is hopeless; returns its exit code."""
    run.path.mkdir(parents=True, exist_ok=True)
    config = run.path / "sweep.json"
    write_json(config, run.config.to_json())
    process = subprocess.Popen([sys.executable, str(ROOT / "train.py"), str(config)])
    # A signal reaches the training too where it comes from the terminal; one sent to this process alone is passed on.
    interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stopped_by(lambda number, _: _pass_on(process, number), *STOP_SIGNALS):
            _watch(process, run, others, stop_above)
    finally:
        signal.signal(signal.SIGINT, interrupt)
    run.look()
    code = process.returncode
    if run.outcome != "stopped early":
        ends = {0: "finished", **{128 + number: "interrupted" for number in (signal.SIGINT, *STOP_SIGNALS)}}
        run.outcome = ends.get(code, f"failed ({code})")
    return code


def _watch(process: subprocess.Popen[bytes], run: Run, others: Sequence[Run], stop_above: float | None) -> None:
    """Looks at a training's validation until it ends, and ends it where it is hopeless."""
    while process.poll() is None:
        time.sleep(LOOK_EVERY)
        run.look()
        if run.outcome != "stopped early" and hopeless(run, others, stop_above):
            run.outcome = "stopped early"
            print("sweep: hopeless; stopping this run", flush=True)
            process.send_signal(signal.SIGTERM)


def _pass_on(process: subprocess.Popen[bytes], number: int) -> None:
    if process.poll() is None:
        process.send_signal(number)


def _write_hparams(run: Run) -> None:
    """Tells TensorBoard the settings and result of a run, for its table of hyper-parameters."""
    try:
        with SummaryWriter(str(run.path)) as writer:
            writer.add_hparams(dict(run.settings), {"hparam/validation_loss": run.best}, run_name=".")
    except OSError as error:
        print(f"warning: TensorBoard cannot be written ({error})", file=sys.stderr)


def _show(runs: Sequence[Run]) -> None:
    keys = list(runs[0].settings)
    table = Table(*keys, "validation loss", "samples", "outcome", "model", title="sweep", title_justify="left")
    for run in sorted(runs, key=lambda run: (math.isnan(run.best), run.best)):
        loss = "-" if math.isnan(run.best) else f"{run.best:.5f}"
        seen = f"{max(run.losses):,}" if run.losses else "-"
        table.add_row(*run.settings.values(), loss, seen, run.outcome, str(run.config.model))
    Console(soft_wrap=True).print(table)
