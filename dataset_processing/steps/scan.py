"""Scan: decode every file whole, once, and measure what the later steps decide on."""

from __future__ import annotations

import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import ClassVar

from pydantic import Field

import dualdiffusion.config
from dataset_processing.duplicates.acoustic_fingerprint import (
    FINGERPRINTS,
    FingerprintMeter,
    fingerprint_path,
    write_fingerprint,
)
from dataset_processing.meters import AudioMeter
from dataset_processing.run.names import stem_of
from dataset_processing.step import JsonData, Record, Step
from dualdiffusion.audio import read_tags, without_huge
from dualdiffusion.audio.decode import AudioError, AudioFile, Song, Take, open_audio, rechunk
from dualdiffusion.audio.decode.game_music.song import CHIP_SECONDS, FADE_SECONDS, LOOPS, MAX_SECONDS
from dualdiffusion.audio.decode.sniff import AUDIO_EXTENSIONS, extension_of
from dualdiffusion.files import sha256_of

_LOSSLESS = ("FLAC", "WAV", "AIFF", "ALAC", "WavPack", "TTA", "Monkey's Audio", "CAF", "Wave64")
_MONO_DB = -60.0  # a difference this far below the sum of both channels is not heard
_OPPOSITE_DB = 10.0  # a difference this far above the sum: the mix to mono loses most of the sound
_LOPSIDED_DB = 30.0
_OF_SONGS = ("chip_seconds", "loops", "fade_seconds")
_LOW_BIT_RATE_HZ = 17000  # where LAME's MP3s of 128 kbit/s end, at most


class Scan(Step):
    """Refuses what cannot be decoded whole, or holds nothing; measures and notes everything else."""

    version: ClassVar[int] = 3
    refusals: ClassVar[int] = 2  # 1: game music that is no recording; 2: odd headers, tags in front, parts that differ

    class Config(dualdiffusion.config.Config):
        """Settings of Scan."""

        near_silent_dbfs: float = Field(-60.0, le=0)
        """A file whose highest peak lies below this is refused as silent (dBFS)."""
        silence_dbfs: float = Field(-60.0, le=0)
        """Windows of 50 ms whose RMS lies below this count as silence (dBFS)."""
        chip_seconds: float = Field(CHIP_SECONDS, gt=0, le=MAX_SECONDS)
        """How long a song of game music is played (s) whose file states neither a length nor a loop (NSF, GBS, KSS,
        ...): at most, as it ends where it falls silent."""
        loops: int = Field(LOOPS, ge=1, le=100)
        """How often the loop of a song is played whose file states one (VGM); tracker modules are played once."""
        fade_seconds: float = Field(FADE_SECONDS, ge=0, le=60)
        """Fade (s) at the end of a song that would go on, where its file states none (SPC and NSFE files may)."""

    def identity(self) -> JsonData:
        """The settings, but for those of game music: what they decide is part of the record of each song."""
        return {name: value for name, value in self.config.to_json().items() if name not in _OF_SONGS}

    def parts(self, record: Record, result: Record) -> list[Record]:
        """A record for each song of a file of game music, with the length that it is to be played for."""
        settings = {name: getattr(self.config, name) for name in _OF_SONGS}
        takes = [
            Song(**song).take(number, len(result.songs), **settings) for number, song in enumerate(result.songs, 1)
        ]
        if len(takes) == 1:
            return [replace(record, song=takes[0].to_json())]
        return [
            replace(
                record,
                file=f"{record.file}/#{take.number:02}",
                track=f"#{take.number:02} {take.tags.get('title', '')}".strip(),
                song=take.to_json(),
            )
            for take in takes
        ]

    def run(self, record: Record) -> Record:
        """Decodes and measures all of the file and keeps its acoustic fingerprint; refused where damaged or silent.

        Of a file of game music the songs are listed only; each then comes as a record of its own (`parts`).
        """
        path = self.paths.source / record.source_file
        try:
            with open_audio(path, Take.from_json(record.song)) as audio:
                if audio.songs and not record.song:
                    return replace(record, songs=[asdict(song) for song in audio.songs])
                meter = AudioMeter(audio.sample_rate, audio.channels, self.config.silence_dbfs)
                fingerprint = FingerprintMeter(audio.sample_rate)
                for block in rechunk(audio.blocks, audio.sample_rate * 5):
                    meter.add(block)
                    if meter.finite:
                        fingerprint.add(block)
                judged = self._judge(record, path, audio, meter)
            if judged.kept:
                target = fingerprint_path(self.paths.state, judged.measured["audio_hash"])
                write_fingerprint(target, fingerprint.result())
            return judged
        except AudioError as error:
            named = extension_of(path.name) in AUDIO_EXTENSIONS
            return record.refused(str(error), audio=named or _is_music(str(error)))

    def tidy(self, records: list[Record]) -> None:
        """Removes the fingerprints of tracks that are gone."""
        present = {record.measured.get("audio_hash") for record in records}
        for path in (self.paths.state / FINGERPRINTS).glob("*.npy"):
            if path.stem not in present:
                path.unlink()

    def _judge(self, record: Record, path: Path, audio: AudioFile, meter: AudioMeter) -> Record:
        if not meter.frames:
            return record.refused("holds no sound: its length is zero")
        if not meter.finite:
            return record.refused("holds samples that are not numbers (NaN or infinite)")
        if not meter.sane:
            return record.refused(f"its samples reach {meter.highest:.1e} times full scale: damaged")
        measured = {
            "format": audio.kind,
            "sample_rate": audio.sample_rate,
            "channels": audio.channels,
            **meter.results(),
        }
        if record.song:  # samples of a few kHz and old filters: an edge in its spectrum is how it sounds
            measured["cutoff_hz"] = None
        record = record.adding(measured=measured).noted(*audio.notes)
        if meter.highest == 0:
            return record.refused("silent: every sample is zero")
        if measured["peak_dbfs"] < self.config.near_silent_dbfs:
            return record.refused(f"as good as silent: its highest peak is {measured['peak_dbfs']:.1f} dBFS")
        if meter.swing < 10 ** (self.config.near_silent_dbfs / 20):
            return record.refused(f"as good as silent: nothing but a constant value of {measured['dc_offset']:.3f}")
        tags, tag_notes = _tags(path)
        name = stem_of(path.name) if record.song else os.path.splitext(path.name)[0]
        fields: dict[str, JsonData] = {"source_file": record.source_file}
        if record.song.get("of", 1) > 1:
            number, of = record.song["number"], record.song["of"]
            fields["source_song"] = number
            name, tags = f"{name} #{number:02}", {**tags, "tracknumber": f"{number}/{of}"}
        tags = {**tags, **record.song.get("tags", {})}
        fields |= {
            "source_sha256": sha256_of(path),
            "title": tags.get("title", name.encode("utf-8", "replace").decode()),
            "artist": tags.get("artist", ""),
            "tags": tags,
        }
        return record.adding(fields=fields).noted(*tag_notes, *describe(measured))


def _tags(path: Path) -> tuple[dict[str, str], list[str]]:
    """A file's tags, and a note where they cannot be read: whatever stands in them, the music may still be good."""
    try:
        tags, huge = without_huge(read_tags(path))
    except Exception:
        return {}, ["its tags cannot be read"]
    return tags, [f"its tag {name!r} is larger than a tag may be, and is left out" for name in huge]


def describe(measured: dict[str, JsonData]) -> list[str]:
    """What is unusual about a track, and what the conversion makes of it."""
    notes = []
    channels, rate = measured["channels"], measured["sample_rate"]
    if channels == 1:
        notes.append("mono")
    if channels > 2:
        notes.append(f"{channels} channels, mixed down")
    if rate < 32000 or rate > 48000:
        notes.append(f"sample rate {rate} Hz")
    if measured["peak_dbfs"] > 0.1:
        notes.append(f"peaks {measured['peak_dbfs']:.1f} dB above full scale, scaled down instead of clipped")
    if measured["clipped_share"] > 0.001:
        notes.append(f"clipped: {measured['clipped_share']:.1%} of its samples stand in flat tops at its ceiling")
    if measured["dc_offset"] > 0.005:
        notes.append(f"DC offset of {measured['dc_offset']:.3f}, removed")
    notes += _describe_channels(measured)
    if measured["silence_share"] > 0.3:
        notes.append(f"{measured['silence_share']:.0%} of it is silence")
    return notes + _describe_edge(measured)


def _describe_channels(measured: dict[str, JsonData]) -> list[str]:
    channels, levels, ratio = measured["channels"], measured["channel_dbfs"], measured["side_to_mid_db"]
    if measured["silent_channels"]:
        numbers = ", ".join(str(channel + 1) for channel in measured["silent_channels"])
        return [f"channel {numbers} of {channels} is silent"]
    if channels != 2:
        return []
    if measured["same_channels"]:
        return ["both channels are the same: mono stored as stereo"]
    if ratio < _MONO_DB:
        return [f"both channels are nearly the same (they differ by {ratio:.0f} dB): mono stored as stereo"]
    if abs(levels[0] - levels[1]) > _LOPSIDED_DB:
        quiet, loud = ("left", "right") if levels[0] < levels[1] else ("right", "left")
        return [f"its {quiet} channel is {abs(levels[0] - levels[1]):.0f} dB quieter than its {loud}"]
    if ratio > _OPPOSITE_DB:
        return ["its channels are in opposite phase: mixed to mono, most of the sound cancels"]
    return []


def _describe_edge(measured: dict[str, JsonData]) -> list[str]:
    """Of a sharp end of the spectrum clearly below half the sample rate: what it may come from."""
    cutoff, half = measured["cutoff_hz"], measured["sample_rate"] / 2
    if cutoff is None or cutoff > 0.85 * half:
        return []
    note = f"its spectrum ends sharply at {cutoff / 1000:.1f} of {half / 1000:.1f} kHz"
    if any(name in measured["format"] for name in _LOSSLESS):
        return [f"{note}: probably made from a lossy file or one of a lower sample rate"]
    if cutoff > _LOW_BIT_RATE_HZ:
        return [f"{note}, where lossy coders cut"]
    return [f"{note}, as after coding at a low bit rate (such as an MP3 of 128 kbit/s or less)"]


def _is_music(reason: str) -> bool:
    """Whether a file with a strange name was recognised as some kind of music all the same."""
    return not any(word in reason for word in ("not audio", "empty file", "zero bytes", "not recognised"))
