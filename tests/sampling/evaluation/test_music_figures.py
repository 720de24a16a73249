"""Where music is lost: figures by stage, what is said of them, the picture of the stages, and the command."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from rich.console import Console
from torch import Tensor

from dualdiffusion import audio
from dualdiffusion.data.dataset_folder import Track
from dualdiffusion.errors import UserError
from dualdiffusion.model.folder import ModelFolder
from sampling.evaluation import command
from sampling.evaluation.clips import through_the_format, through_the_vae
from sampling.evaluation.copies import CopySearch
from sampling.evaluation.measures import (
    GENERATED,
    THROUGH_FORMAT,
    THROUGH_VAE,
    TRAINING,
    VALIDATION,
    ClipFeatures,
    nearest_figures,
)
from sampling.evaluation.music.figures import OF_CORPUS, OF_FORMAT, STAGES, music_figures
from sampling.evaluation.music.record import MEASURES, Music, listen
from sampling.evaluation.music.rhythm import Rhythm
from sampling.evaluation.report.notes import _music
from sampling.evaluation.report.picture import COLUMNS, LEFT, LINE, NOTE, TOP, WIDTH, Examples, draw_stages
from sampling.evaluation.report.tables import show_music
from sampling.generator import Generator
from tests import tiny
from tests.sampling.evaluation.sounds import C_MAJOR, RATE, chord, clicks, noise, seeded, tune


def key(tonic: int) -> Tensor:
    """The pitch classes of a major scale."""
    scale = torch.zeros(12, dtype=torch.float64)
    scale[[0, 2, 4, 5, 7, 9, 11]] = 1 / 7
    return scale.roll(tonic)


def clip(
    beat: float, sharpness: float = 0.4, *, number: int = 0, game: str = "Castle", tonic: int = 0, track: str = ""
) -> ClipFeatures:
    """A clip with these measures."""
    rhythm = Rhythm(beat=beat, onsets=4.0, density=0.1, tempo=120.0, stays=None)
    none = torch.zeros(1)
    music = Music(rhythm, sharpness, key(tonic), None)
    return ClipFeatures(f"{game} {number}", game, {"e": none[None]}, none, none, None, music, track)


def made_up() -> dict[str, list[ClipFeatures]]:
    """The VAE loses notes, and what comes after it the beat."""
    levels = {
        VALIDATION: (0.6, 0.4),
        TRAINING: (0.6, 0.4),
        THROUGH_FORMAT: (0.6, 0.4),
        THROUGH_VAE: (0.57, 0.3),
        GENERATED: (0.2, 0.27),
    }
    spread = torch.linspace(0.95, 1.05, 12).tolist()
    return {
        name: [
            clip(beat * factor, sharpness * factor, number=number, game=("Castle", "Cave")[number % 2])
            for number, factor in enumerate(spread)
        ]
        for name, (beat, sharpness) in levels.items()
    }


def figures_of(stages: dict[str, list[ClipFeatures]], training: list[ClipFeatures] | None = None) -> dict:
    return music_figures(stages, training or stages[TRAINING], ["Castle", "Cave"], draws=100, seed=0)


def test_each_stage_has_its_means_and_says_what_it_keeps_of_the_one_before() -> None:
    found = figures_of(made_up())
    assert list(found["stages"]) == list(STAGES)
    assert found["stages"][GENERATED]["beat"]["value"] == pytest.approx(0.2)
    assert found["stages"][GENERATED]["clips"] == 12
    kept = {name: {key: row["measures"][key] for key in ("beat", "sharpness")} for name, row in found["kept"].items()}
    assert kept["in the VAE"]["beat"]["value"] == pytest.approx(0.95)
    assert kept["in the VAE"]["sharpness"]["value"] == pytest.approx(0.75)
    assert kept["in UNet and sampling"]["beat"]["value"] == pytest.approx(0.2 / 0.57)
    assert kept[OF_CORPUS]["beat"]["value"] == pytest.approx(1 / 3)
    assert kept[OF_FORMAT]["sharpness"]["value"] == pytest.approx(0.27 / 0.4)
    for row in kept.values():
        for share in row.values():
            assert share["low"] <= share["value"] <= share["high"]
    assert found == figures_of(made_up())


def test_stages_of_the_same_clips_are_compared_clip_by_clip() -> None:
    """The clips differ by a tenth, the stages by the same factor in each: of that factor there is no doubt."""
    kept = figures_of(made_up())["kept"]
    same, other = kept["in the VAE"]["measures"]["beat"], kept["in UNet and sampling"]["measures"]["beat"]
    assert same["high"] - same["low"] < 1e-9
    assert other["high"] - other["low"] > 0.003


def test_the_notes_say_in_which_stage_beat_and_sharpness_are_lost() -> None:
    notes = _music({"music": figures_of(made_up())})
    assert notes == [
        "music: beat clarity is lost most in UNet and sampling, which keeps 35% of it",
        "music: note sharpness is lost most in the VAE, which keeps 75% of it",
    ]
    stages = made_up()
    assert _music({"music": figures_of({name: stages[TRAINING] for name in STAGES})}) == []


def test_figures_are_also_told_by_game_and_what_no_clip_has_is_null() -> None:
    stages = made_up()
    stages[GENERATED] = [clip(0.5 if made.game == "Cave" else 0.1, game=made.game) for made in stages[GENERATED]]
    found = figures_of(stages)
    assert found["games"]["Cave"][GENERATED]["beat"] == pytest.approx(0.5)
    assert found["games"]["Castle"][GENERATED]["beat"] == pytest.approx(0.1)
    assert found["games"]["Castle"][GENERATED]["sections"] is None
    assert found["stages"][GENERATED]["sections"] == {"value": None, "low": None, "high": None}
    assert found["clips"][0] == {"clip": "Castle 0", "tempo": 120.0, **found["clips"][0]}
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_where_there_is_nothing_to_keep_no_share_is_told() -> None:
    stages = {name: [clip(0.0, number=number) for number in range(4)] for name in STAGES}
    kept = music_figures(stages, stages[TRAINING], ["Castle"], draws=20, seed=0)["kept"]
    assert kept[OF_CORPUS]["measures"]["beat"]["value"] is None
    assert kept[OF_CORPUS]["measures"]["sharpness"]["value"] == pytest.approx(1)


def test_pitch_classes_are_compared_with_other_tracks_of_the_game_only() -> None:
    training = [clip(0.5, tonic=0, track="a"), clip(0.5, tonic=6, track="b"), clip(0.5, game="Cave", track="c")]
    stages = {name: training for name in STAGES}
    stages[GENERATED] = [clip(0.5, tonic=6), clip(0.5, tonic=3), clip(0.5, game="Cave", tonic=0)]
    found = figures_of(stages, training)["clips"]
    assert found[0]["pitch"] == pytest.approx(1)
    assert found[1]["pitch"] < 0.5  # a key that no track of the game has
    assert found[1]["intervals"] == pytest.approx(1)  # but the same scale
    assert found[2]["pitch"] == pytest.approx(1)
    own = figures_of(stages, training)["games"]
    assert own["Castle"][TRAINING]["pitch"] < 0  # a against b alone, six semitones away
    assert own["Cave"][TRAINING]["pitch"] is None  # there is no other track


def test_the_tables_show_measures_by_stage_and_leave_out_what_there_is_not() -> None:
    console = Console(width=150, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    show_music(figures_of(made_up()), console)
    text = console.export_text()
    for words in ("beat clarity", "training through the VAE", "in UNet and sampling", "0.60 > 0.60 > 0.57 > 0.20"):
        assert words in text
    assert "section contrast" not in text


# Copies and neighbours


def test_training_clips_are_searched_for_in_other_tracks_than_their_own(tmp_path: Path) -> None:
    search, tracks, clips = CopySearch(RATE, 4.0), [], []
    for index in range(3):
        envelope = torch.rand(1, 80, generator=seeded(index)).repeat_interleave(RATE // 10, dim=1)
        samples = noise(8.0, seed=index) * envelope
        path = tmp_path / f"{index}.flac"
        audio.write_flac(path, samples, RATE)
        tracks.append(Track(path, path.name, "Castle", 0, 8.0, RATE, 2))
        clips.append(search.patches(samples[:, : 4 * RATE]))
    own = search.find(clips, tracks)
    assert [match.track.file_name for match in own] == ["0.flac", "1.flac", "2.flac"]
    others = search.find(clips, tracks, but=["0.flac", "1.flac", ""])
    assert [match.track.file_name for match in others][2] == "2.flac"
    for match, name in zip(others[:2], ("0.flac", "1.flac"), strict=True):
        assert match.track.file_name != name
        assert match.score < 0.8 < min(found.score for found in own)


def test_the_nearest_neighbour_of_a_training_clip_is_one_of_another_track() -> None:
    def at(place: float, track: str) -> ClipFeatures:
        made = clip(0.5, track=track)
        return ClipFeatures(
            made.name, made.game, {"e": torch.tensor([[place]])}, made.timbre, made.sound, None, None, track
        )

    training = [at(0.0, "a"), at(0.1, "a"), at(3.0, "b"), at(3.2, "b")]
    spread = torch.tensor([0.0, 0.1, 3.0, 3.2]).double().std()
    found = nearest_figures([at(1.0, ""), at(0.01, "")], [at(2.0, "c")], training, "e")
    assert found["distance"]["training"]["median"] == pytest.approx(float(2.95 / spread), rel=0.02)
    assert found["nearer_than_any_training_clip"] == 2
    assert found["nearer_than_any_validation_clip"] == 2


# Through the stages


def test_what_goes_through_the_format_loses_less_than_what_goes_through_the_vae(model: ModelFolder) -> None:
    generator = Generator.load(model)
    samples = audio.resample(tune(3.01), RATE, tiny.SAMPLE_RATE)
    by_format, by_vae = (through(generator, samples, "Cave", 10) for through in (through_the_format, through_the_vae))
    assert by_format.shape == by_vae.shape == samples.shape
    original, format, vae = (listen(x, tiny.SAMPLE_RATE) for x in (samples, by_format, by_vae))
    assert format.rhythm.tempo == pytest.approx(original.rhythm.tempo, rel=0.03)
    assert format.sharpness > 0.7 * original.sharpness
    assert abs(vae.rhythm.beat - original.rhythm.beat) > abs(format.rhythm.beat - original.rhythm.beat)


# The picture


def test_the_picture_has_a_row_for_each_game_and_a_column_for_each_stage() -> None:
    examples = Examples(RATE)
    for game in ("Castle", "Cave"):
        for stage, samples in zip(COLUMNS, (clicks(120), chord(), noise(), 0 * noise()), strict=True):
            examples.add(stage, game, samples)
    examples.add(GENERATED, "Cave", clicks(90))  # the first one stays
    assert not bool(examples.clips["Cave"][GENERATED].any())
    image = draw_stages(examples)
    half = (image.height - TOP - NOTE) // 2
    rows = [image.crop((LEFT, TOP + row * half, image.width, TOP + (row + 1) * half)) for row in range(2)]
    assert rows[0].tobytes() == rows[1].tobytes()
    # Clicks draw more of the curve than a held chord, which draws a flat line; silence is black above one.
    lines = [_count(image, column, LINE) for column in range(4)]
    assert lines[0] > 1.5 * lines[1]
    black = (8, 8, 20)
    assert _count(image, 3, black) > 0.9 * 2 * WIDTH * 150 > 2 * _count(image, 2, black)


def _count(image: Image.Image, column: int, color: tuple[int, int, int]) -> int:
    left = LEFT + column * (image.width - LEFT) // len(COLUMNS)
    cell = image.crop((left, 0, left + WIDTH, image.height))
    return sum(count for count, found in cell.getcolors(1 << 20) if found == color)


def test_the_picture_of_a_single_short_clip_can_be_drawn() -> None:
    examples = Examples(RATE)
    examples.add(GENERATED, "Castle", chord(C_MAJOR, seconds=0.01))
    assert draw_stages(examples).width > 4 * WIDTH


# The command


def test_the_command_measures_music_at_every_stage_and_draws_it(
    model: ModelFolder, dataset: Path, tmp_path: Path
) -> None:
    fast = ("--clips", 2, "--seconds", 1, "--steps", 2, "--set", "phase_iterations=1", "--resamples", 20)
    only = ("--embedding", "mel_statistics", "--json", tmp_path / "out.json", "--picture", tmp_path / "out.png")
    result = tiny.run("-m", "sampling", "evaluate", "--model", model.path, "--dataset", dataset, *fast, *only)
    assert result.returncode == 0, result.stderr
    figures = json.loads((tmp_path / "out.json").read_text())
    music = figures["music"]
    assert list(music["stages"]) == list(STAGES)
    for row in music["stages"].values():
        assert row["sharpness"]["low"] <= row["sharpness"]["value"] <= row["sharpness"]["high"]
        assert row["stays"]["value"] is row["sections"]["value"] is None  # of a second
        assert {name for name in MEASURES if row[name]["value"] is None} == {"stays", "sections"}
    assert list(music["games"]) == list(tiny.GAMES)
    assert len(music["clips"]) == 2 * len(tiny.GAMES)
    # Random weights make no notes.
    kept = [music["kept"][name]["measures"]["sharpness"]["value"] for name in ("in the format", OF_CORPUS)]
    assert 0 < kept[0] < 1.1
    assert 0 < kept[1] < 0.9
    assert figures["copies"]["scores"]["training_to_other_tracks"]["count"] == 2 * len(tiny.GAMES)
    assert "where is it lost?" in result.stdout
    picture = Image.open(tmp_path / "out.png")
    assert picture.width > 4 * WIDTH
    assert picture.height > len(tiny.GAMES) * 200


@pytest.mark.parametrize("value", ["picture.jpg", "tests"])
def test_a_picture_that_cannot_be_written_is_refused_before_anything_is_made(
    value: str, model: ModelFolder, dataset: Path
) -> None:
    parser = argparse.ArgumentParser()
    command.add_options(parser)
    given = ["--model", model.path, "--dataset", dataset, "--picture", value]
    with pytest.raises(UserError, match=rf"--picture {value}"):
        command.run(parser.parse_args(list(map(str, given))))
