"""The console command `dualdiffusion`: data, train, sample, evaluate and serve, and what is done with models.

`python -m dualdiffusion latent-report MODEL DATASET` and `... export MODEL OUT` are commands of the library itself.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dualdiffusion.command_line import Command, add_set_option, one_of, run_command
from dualdiffusion.config import apply_overrides, validate
from dualdiffusion.errors import UserError
from dualdiffusion.files import atomic_path, read_text, write_json
from dualdiffusion.model.folder import ModelFolder
from dualdiffusion.model.shipped import find_model, is_shipped
from dualdiffusion.programs import PROGRAMS, run_program

if TYPE_CHECKING:
    from dualdiffusion.latent_report.report import LatentReport

REPORT, PICTURE = "latent_report.json", "latent_report.png"


def add_latent_report(parser: argparse.ArgumentParser) -> None:
    """The options of `latent-report`."""
    parser.add_argument("model", type=Path, help="model folder with a trained VAE, such as models/demo")
    parser.add_argument("dataset", type=Path, help="dataset folder; its validation split is listened to")
    parser.add_argument(
        "--out",
        type=Path,
        help=f"folder for {REPORT} and {PICTURE} (default MODEL/reports; of a shipped model in outputs)",
    )
    add_set_option(parser)


def report_folder(model: ModelFolder, out: Path | None) -> Path:
    """Where the report goes: `out`, or into the model folder, unless that is a shipped one, which stays as it is."""
    own = Path("outputs", model.path.name) if is_shipped(model.path) else model.path
    return out or own / "reports"


def run_latent_report(arguments: argparse.Namespace) -> int:
    """Prints and writes the report: 0 where it says pass, else 1."""
    model = find_model(arguments.model)
    out = report_folder(model, arguments.out)
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out}: is a file, not a folder")
    from dualdiffusion.data.dataset_folder import DatasetFolder
    from dualdiffusion.latent_report.picture import draw_report
    from dualdiffusion.latent_report.report import LatentReportConfig, make_report

    config = validate(LatentReportConfig, apply_overrides({}, arguments.overrides), "--set")
    report = make_report(model, DatasetFolder(arguments.dataset), config)
    show(report)
    write_json(out / REPORT, {**report.to_json(), "settings": config.to_json()})
    with atomic_path(out / PICTURE) as temporary:
        draw_report(report).save(temporary)
    print(f"written: {out / REPORT}, {out / PICTURE}")
    for problem in report.problems:
        print(f"wrong: {problem}")
    print("pass: diffusion training may start" if report.passed else "not yet: see what is wrong above")
    return 0 if report.passed else 1


def add_export(parser: argparse.ArgumentParser) -> None:
    """The options of `export`."""
    parser.add_argument("model", type=Path, help="trained model folder, such as models/demo")
    parser.add_argument("out", type=Path, help="folder to write; only an earlier export is replaced")
    parser.add_argument("--ema", help="the UNet's weights: a width such as 0.1, a name, or raw (default: the best)")
    card = parser.add_argument_group("model card", "README.md in OUT also tells what no file of the model knows.")
    card.add_argument("--card", type=Path, metavar="FILE", help="Markdown in own words, such as what one hears")
    card.add_argument("--data", metavar="TEXT", help="what the music is, and where it comes from")
    card.add_argument("--licence", metavar="TEXT", help="of data and weights")
    card.add_argument("--hardware", metavar="TEXT", help="what the model was trained on")
    card.add_argument("--command", metavar="TEXT", help="the command that makes the model again")
    card.add_argument("--measures", type=Path, metavar="FILE", help="JSON object of figures")


def run_export(arguments: argparse.Namespace) -> int:
    """Writes the folder and prints what it holds."""
    model = find_model(arguments.model)
    texts = {name: getattr(arguments, name) for name in ("data", "licence", "hardware", "command")}
    texts = {name: text for name, text in texts.items() if text is not None}
    from dualdiffusion.model.card import CardNotes, read_measures
    from dualdiffusion.model.export import MAX_MEGABYTES, MEGABYTE, export

    if arguments.card:
        texts["text"] = read_text(arguments.card)
    measures = read_measures(arguments.measures) if arguments.measures else {}
    result = export(model, arguments.out, ema=arguments.ema, notes=CardNotes(**texts, measures=measures))
    for name, size in result.sizes.items():
        print(f"{size / MEGABYTE:8.3f} MB  {name}")
    print(f"{result.megabytes:8.3f} MB  written to {result.path}")
    if result.megabytes > MAX_MEGABYTES:
        print(f"larger than the {MAX_MEGABYTES:g} MB that a shipped model may have; train a smaller network")
    return 0


def add_import(parser: argparse.ArgumentParser) -> None:
    """The options of `import`."""
    parser.add_argument("kind", choices=["dance-diffusion"], help="what the checkpoint is of")
    parser.add_argument("checkpoint", metavar="CKPT", type=Path, help=".ckpt, .safetensors, or a folder of diffusers")
    parser.add_argument("out", type=Path, help="model folder to write; must not exist yet")
    parser.add_argument("--sample-rate", type=int, help="in Hz, where the checkpoint does not say it, such as 48000")
    parser.add_argument("--sample-size", type=int, help="samples it was trained on (default: as it says, or 65536)")


def run_import(arguments: argparse.Namespace) -> int:
    """Writes the model folder and prints what it holds."""
    for option in ("sample_rate", "sample_size"):
        value = getattr(arguments, option)
        if value is not None and value < 1:
            raise UserError(f"--{option.replace('_', '-')}: must be 1 or more, not {value}")
    from dualdiffusion.model.importing import import_dance_diffusion

    made = import_dance_diffusion(
        arguments.checkpoint, arguments.out, sample_rate=arguments.sample_rate, sample_size=arguments.sample_size
    )
    config, seconds = made.config, made.sample_size / made.sample_rate
    print(f"weights: {made.weights}, {made.parameters / 1e6:.1f} million numbers, {len(config.level_channels)} levels")
    print(f"audio: {made.sample_rate} Hz, {config.in_channels} channels, {seconds:.2f} s at once")
    print(f"written: {made.path}; play it: python -m sampling --model {made.path}")
    return 0


def show(report: LatentReport) -> None:
    """The figures as tables."""
    from rich.console import Console
    from rich.table import Table

    console, values = Console(), report.values
    table = Table(title=f"latents of {values['clips']} validation clips", title_justify="left")
    for name in ("channel", "mean", "std", "SNR", "mean, normalised", "std, normalised", "largest correlation"):
        table.add_column(name, justify="right")
    for index, channel in enumerate(values["channels"]):
        table.add_row(str(index), *(f"{number:.2f}" for number in channel.values()))
    console.print(table)
    for axis, unit in (("time", "Hz"), ("frequency", "per row")):
        spectrum = values["spectrum"][axis]
        upper = [f"up to {limit:.3g} {unit}" for limit in spectrum["up_to"]]
        table = Table("channel", *upper, title=f"spectrum along {axis}: share of the power", title_justify="left")
        for index, shares in enumerate(spectrum["shares"]):
            table.add_row(str(index), *(f"{share:.0%}" for share in shares))
        console.print(table)
    table = Table("from Hz", "to Hz", "lost", title="share of the variation that the VAE loses", title_justify="left")
    for band in values["bands"]:
        table.add_row(f"{band['from_hz']:.0f}", f"{band['to_hz']:.0f}", f"{band['error']:.1%}")
    table.add_row("all", "", f"{values['error']:.1%}")
    table.add_row("all, with the latents' noise", "", f"{values['error_with_noise']:.1%}")
    console.print(table)


COMMANDS = {
    "latent-report": Command("is the VAE good enough for diffusion training?", add_latent_report, run_latent_report),
    "import": Command("make a model folder of a checkpoint from elsewhere", add_import, run_import),
    "export": Command("write a small folder that holds what playing a model needs", add_export, run_export),
}


def main(words: Sequence[str] | None = None, program: str = "dualdiffusion") -> int:
    """Runs the command that the first word names; returns its exit code.

    Args:
        words: None for those of the command line.
        program: what is typed before them, for --help and errors.
    """
    words = sys.argv[1:] if words is None else words
    if words and words[0] in PROGRAMS:
        return run_program(words[0], words[1:])
    # Programs parse their own words, so for this parser they are only lines of --help.
    listed = {name: Command(entry.text, lambda _: None, lambda _: 0) for name, entry in PROGRAMS.items()}
    return one_of({**listed, **COMMANDS}, words, program=program, description="Train and play a music generator.")


def console() -> None:
    """What the installed command `dualdiffusion` calls."""
    run_command(main)


if __name__ == "__main__":
    run_command(lambda: main(program="python -m dualdiffusion"))
