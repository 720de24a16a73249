"""One audio file, opened by its content and delivered whole, in blocks, or refused with a reason."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import soundfile

from dualdiffusion.audio.decode import boxes, mpeg, ogg, pcm, raw_frames, speakers
from dualdiffusion.audio.decode.claim import AudioError, Claim
from dualdiffusion.audio.decode.game_music import playing
from dualdiffusion.audio.decode.game_music.song import Song, Take
from dualdiffusion.audio.decode.game_music.stated import check_whole, unpacked
from dualdiffusion.audio.decode.parts import Part, common, joined
from dualdiffusion.audio.decode.section import Section
from dualdiffusion.audio.decode.sniff import (
    AAC,
    AC3,
    AVI,
    CAF,
    FLAC,
    MATROSKA,
    MP4,
    MPEG,
    OGG,
    TTA,
    Kind,
    extension_of,
    identify,
    is_named,
)

_BLOCK_FRAMES = 1 << 16
_MAX_CHANNELS = 8
_MAX_RATE = 768_000
_LEANING_FRAMES = 3
_MAX_CHIP_BYTES = 128 << 20
_CONTAINERS = (MP4, MATROSKA, AVI)
_WITH_CHECKSUMS = ("flac", "wavpack", "tta", "ac3", "eac3")  # codecs whose frames carry one


@dataclass(frozen=True)
class AudioFile:
    """An open audio file. `blocks` yields float32 arrays (frames, channels) and may be read once.

    Reading to the end also checks that everything the file says it holds has been delivered; `blocks` raises AudioError
    otherwise. Channels stand in WAV order (front left, front right, centre, LFE, back left, ...).

    songs: of game music that is no recording, what the file says of each of its songs, where none was chosen.
    """

    kind: str
    sample_rate: int
    channels: int
    notes: tuple[str, ...]
    blocks: Iterator[np.ndarray]
    songs: tuple[Song, ...] = ()


class _Opened(NamedTuple):
    """What a decoder offers; `speakers` name the channels and `codec` what is in a container, where they are known."""

    sample_rate: int
    channels: int
    blocks: Iterator[np.ndarray]
    notes: tuple[str, ...] = ()
    speakers: tuple[str, ...] = ()
    codec: str = ""
    songs: tuple[Song, ...] = ()


@contextlib.contextmanager
def open_audio(path: Path, take: Take | None = None) -> Iterator[AudioFile]:
    """Opens a file by its content, whatever it is called.

    Args:
        path: the file.
        take: which song of a file of game music is played, and for how long; None: the first, as long as is usual.

    Raises:
        AudioError: not audio, not supported, damaged or truncated; the message is a reason for the report.
        OSError: the file cannot be read, or needs a library that is not installed.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise AudioError("not a regular file (a folder, a pipe or a device)")
    with open(path, "rb") as file:
        kind, start = identify(file)
    name = kind.name
    if kind is OGG:
        held = ogg.inspect(path, start)
        claim = Claim(notes=held.notes)
        opened, name = _open_parts(path, kind, [part.claim for part in held.parts]), held.codec
    elif kind is MPEG:
        joined = mpeg.inspect(path)
        opened, claim = _open_parts(path, kind, joined.parts), Claim(notes=joined.notes)
    elif kind.chip:
        opened, claim = _open_chip(path, kind, start, take), Claim()
    else:
        claim = _claim(path, kind, start)
        by_ffmpeg = claim.needs_ffmpeg or not kind.soundfile
        opened = (_open_av if by_ffmpeg else _open_soundfile)(path, kind, claim)
    with opened as audio:
        notes = (*(_before(kind, start)), *claim.notes, *audio.notes)
        channels, blocks = audio.channels, audio.blocks
        if not 0 < channels <= _MAX_CHANNELS:
            raise AudioError(f"{channels} channels: at most {_MAX_CHANNELS} are supported")
        if not 1000 <= audio.sample_rate <= _MAX_RATE:
            raise AudioError(f"an impossible sample rate of {audio.sample_rate} Hz")
        matrix = speakers.fold(audio.speakers)
        if matrix is not None:
            notes += (f"{channels} channels ({' '.join(audio.speakers)}), read as {matrix.shape[1]}",)
            channels, blocks = matrix.shape[1], (block @ matrix for block in blocks)
        extension = extension_of(path.name)
        if not is_named(path.name, kind):
            notes += (f"holds {name} although its name says {'.' + extension if extension else 'nothing'}",)
        if kind in _CONTAINERS:
            name = f"{name} ({audio.codec.upper()})"
        yield AudioFile(name, audio.sample_rate, channels, notes, blocks, audio.songs)


@contextlib.contextmanager
def _open_chip(path: Path, kind: Kind, start: int, take: Take | None) -> Iterator[_Opened]:
    """Game music, rendered by a library; `start` is where it begins, behind an ID3 tag."""
    library = playing.LIBRARIES[kind.chip]
    if path.stat().st_size > _MAX_CHIP_BYTES:
        raise AudioError(f"a {kind.name} file of more than {_MAX_CHIP_BYTES >> 20} MiB: damaged, or not one")
    data = unpacked(path.read_bytes()[start:])
    check_whole(data, kind.name)
    songs, notes = (), ()
    if take is None:
        songs = playing.songs(library, data)
        if not songs:
            raise AudioError(f"a {kind.name} file that holds no song")
        notes = (f"holds {len(songs)} songs; the first is used",) if len(songs) > 1 else ()
        take = songs[0].take()
    blocks = playing.render(library, data, take)
    with contextlib.closing(blocks):  # ends the player where not all is read
        yield _Opened(playing.RATE, 2, blocks, (*notes, *take.notes()), songs=songs)


def _claim(path: Path, kind: Kind, start: int) -> Claim:
    module = raw_frames if kind in (AAC, AC3) else pcm if kind.soundfile else boxes
    return module.claim(path, kind.name, start)


def _before(kind: Kind, start: int) -> tuple[str, ...]:
    """The note on tags and padding before the audio, where none may stand."""
    usual = kind in (MPEG, FLAC, TTA, AAC) or not start
    return () if usual else (f"{start} bytes of tags or padding before its {kind.name} data are left out",)


@contextlib.contextmanager
def _open_soundfile(path: Path, kind: Kind, claim: Claim) -> Iterator[_Opened]:
    with contextlib.ExitStack() as stack:
        try:
            source: bytes | Section = os.fsencode(path)
            if claim.start or claim.header:
                end = path.stat().st_size if claim.end is None else claim.end
                source = Section(stack.enter_context(open(path, "rb")), claim.start, end, claim.header)
            file = stack.enter_context(soundfile.SoundFile(source))
        except (soundfile.LibsndfileError, TypeError):
            # Rare codecs inside a known container: FFmpeg knows more of them.
            try:
                opened = stack.enter_context(_open_av(path, kind, claim))
            except AudioError:
                raise AudioError(f"a {kind.name} file that is damaged or of an unknown kind") from None
            yield opened
            return
        yield _Opened(file.samplerate, file.channels, _read_soundfile(file, claim), (), claim.speakers)


def _read_soundfile(file: soundfile.SoundFile, claim: Claim) -> Iterator[np.ndarray]:
    """Blocks of a file, compared with the length it states and with FLAC's checksum of its samples."""
    stated = claim.frames if claim.frames is not None else (0 if file.frames > 1 << 48 else file.frames)
    digest = hashlib.md5(usedforsecurity=False) if claim.md5 and claim.bits in (8, 16, 24) else None
    delivered = 0
    while True:
        try:
            block = file.read(_BLOCK_FRAMES, dtype="int32" if digest else "float32", always_2d=True)
        except soundfile.LibsndfileError:
            raise AudioError(_cannot_go_on(delivered, file.samplerate)) from None
        if not len(block):
            break
        delivered += len(block)
        if digest:
            digest.update(_packed(block, claim.bits or 0))
            block = block.astype(np.float32) * np.float32(2.0**-31)
        yield block
    # The length of MPEG audio in a WAV file is an estimate, give or take the decoder's delay.
    Claim(stated, 3 * 1152 if file.subtype.startswith("MPEG") else 0).check(delivered, file.samplerate)
    if digest and digest.digest() != claim.md5:
        raise AudioError("damaged: its samples do not match the checksum that the FLAC file states")


def _packed(block: np.ndarray, bits: int) -> bytes:
    """Samples that fill int32 from the top, as the little-endian bytes over which FLAC takes its checksum."""
    as_bytes = np.ascontiguousarray(block, dtype="<i4").view(np.uint8).reshape(*block.shape, 4)
    return as_bytes[:, :, 4 - bits // 8 :].tobytes()


@contextlib.contextmanager
def _open_parts(path: Path, kind: Kind, claims: Sequence[Claim]) -> Iterator[_Opened]:
    """All parts of a joined file, one after the other; each is a file of its own to the decoder.

    One is open at a time: a recording of a radio station has one for every piece, and systems allow few open files.
    """

    def decoded(claim: Claim) -> Iterator[Part]:
        with _open_av(path, kind, claim) as part:
            yield Part(part.sample_rate, part.channels, part.blocks, part.speakers)

    with _open_av(path, kind, claims[0]) as first:
        if len(claims) == 1:
            yield first
            return
    sample_rate, channels, notes = common([_look_at(path, kind, claim) for claim in claims])
    blocks = joined((part for claim in claims for part in decoded(claim)), sample_rate, channels)
    # Parts of different kinds have been mixed already.
    yield first._replace(
        sample_rate=sample_rate, channels=channels, blocks=blocks, notes=notes, speakers=() if notes else first.speakers
    )


def _look_at(path: Path, kind: Kind, claim: Claim) -> Part:
    """What a part is, without its sound."""
    with _open_av(path, kind, claim) as part:
        return Part(part.sample_rate, part.channels, iter(()), part.speakers)


@contextlib.contextmanager
def _open_av(path: Path, kind: Kind, claim: Claim) -> Iterator[_Opened]:
    with contextlib.ExitStack() as stack:
        # An open file and a fixed format: FFmpeg sees no name, guesses nothing, and cannot be led to other files.
        file = stack.enter_context(open(path, "rb"))
        size = path.stat().st_size
        if claim.header or (claim.start, claim.end or size) != (0, size):
            file = Section(file, claim.start, claim.end or size, claim.header)
        try:
            container = stack.enter_context(av.open(file, format=kind.av_format, metadata_errors="replace"))
        except (av.FFmpegError, ValueError):
            raise AudioError(f"a damaged {kind.name} file: its header cannot be read") from None
        if not container.streams.audio:
            held = "video but no audio" if container.streams.video else "no audio"
            raise AudioError(f"a {kind.name} file that holds {held}")
        stream = container.streams.audio[0]
        if not stream.codec_context or not stream.sample_rate or not stream.channels:
            raise AudioError(f"a {kind.name} file whose kind of audio cannot be decoded")
        if stream.codec_context.name in _WITH_CHECKSUMS:
            stream.codec_context.options = {"err_detect": "crccheck+explode"}
        elif kind is CAF:
            # Its last packet is short already; FFmpeg would take the padding away a second time.
            stream.codec_context.options = {"flags2": "+skip_manual"}
        notes = []
        if any(not video.disposition & av.stream.Disposition.attached_pic for video in container.streams.video):
            notes.append("holds video too; only its audio is used")
        if len(container.streams.audio) > 1:
            notes.append(f"holds {len(container.streams.audio)} audio streams; the first is used")
        if claim.frames is None:
            claim = _container_claim(container, stream, claim)
        elif claim.sample_rate:
            claim = replace(claim, frames=claim.frames * stream.sample_rate // claim.sample_rate)
        names = claim.speakers or tuple(channel.name for channel in stream.layout.channels)
        blocks = _read_av(container, stream, claim, kind)
        yield _Opened(stream.sample_rate, stream.channels, blocks, tuple(notes), names, stream.codec_context.name)


def _container_claim(container: av.container.InputContainer, stream: av.AudioStream, claim: Claim) -> Claim:
    """The length that a container states."""
    if stream.duration and stream.time_base:
        seconds = float(stream.duration * stream.time_base)
    elif container.duration:
        seconds = container.duration / av.time_base - max(container.start_time or 0, 0) / av.time_base
    else:
        return claim
    return replace(claim, frames=round(seconds * stream.sample_rate), tolerance=stream.sample_rate // 10)


def _read_av(
    container: av.container.InputContainer, stream: av.AudioStream, claim: Claim, kind: Kind
) -> Iterator[np.ndarray]:
    """Blocks of a stream.

    Ogg pages were checked before; there, and in the first frames of an MP3 file (which may lean on data from before
    its start), a packet that cannot be decoded is skipped, and the length delivered decides whether that matters.
    """
    rate, channels = stream.sample_rate, stream.channels
    delivered, packets, started_at = 0, 0, 0.0
    # Packed: PyAV reads past the end of eight planes.
    resampler = av.AudioResampler(format="flt")
    try:
        for packet in container.demux(stream):
            packets += 1
            try:
                frames = packet.decode()
            except av.FFmpegError:
                if kind is OGG or (kind is MPEG and packets <= _LEANING_FRAMES):
                    continue
                raise
            for frame in frames:
                if frame.sample_rate != rate or frame.layout.nb_channels != channels:
                    raise AudioError("its sample rate or channel count changes on the way; split it first")
                if not delivered:
                    started_at = max(frame.time or 0.0, 0.0)
                if frame.format.name == "fltp" and channels <= 2:  # the usual case, three times as fast
                    delivered += frame.samples
                    yield np.stack([np.frombuffer(p, np.float32, frame.samples) for p in frame.planes], axis=1)
                    continue
                for plain in resampler.resample(frame):
                    delivered += plain.samples
                    yield plain.to_ndarray().reshape(-1, channels)
    except av.FFmpegError:
        raise AudioError(_cannot_go_on(delivered, rate)) from None
    if not delivered:
        raise AudioError("nothing in it can be decoded: damaged")
    # A stream cut out of a longer one keeps its positions: it holds less than its last position says.
    offset = round(started_at * rate)
    frames_stated = None if claim.frames is None else max(claim.frames - offset, 0)
    Claim(frames_stated, claim.tolerance).check(delivered, rate)


def _cannot_go_on(delivered: int, sample_rate: int) -> str:
    return f"truncated or damaged: it cannot be decoded beyond {delivered / sample_rate:.2f} s"


def rechunk(blocks: Iterable[np.ndarray], frames: int) -> Iterator[np.ndarray]:
    """The same samples in blocks of exactly `frames` rows; the last may be shorter."""
    held: list[np.ndarray] = []
    count = 0
    for block in blocks:
        while count + len(block) >= frames:
            head, block = block[: frames - count], block[frames - count :]
            yield np.concatenate([*held, head])
            held, count = [], 0
        if len(block):
            held.append(block)
            count += len(block)
    if held:
        yield np.concatenate(held)
