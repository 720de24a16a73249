"""What a file is, told by its content and not by its name."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from typing import IO

from dualdiffusion.audio.decode import mpeg, ogg, raw_frames
from dualdiffusion.audio.decode.claim import AudioError
from dualdiffusion.audio.decode.section import after_tags, after_zeros


class UnknownError(AudioError):
    """A file that is none of the formats that are known, supported or not."""


HEAD_BYTES = 256 * 1024
"""How much of a file's start `sniff` wants to see."""

AUDIO_EXTENSIONS = frozenset(
    re.findall(
        r"\S+",
        "wav wave w64 rf64 flac ogg oga opus mp3 mp2 mp1 mpga aiff aif aifc au snd caf m4a m4b mp4 aac alac wv ape tta "
        "wma asf mka webm weba mkv mov avi mpc spx ac3 eac3 ec3 dsf dff mid midi rmi kar mod xm it s3m nsf nsfe spc "
        "vgm vgz gbs hes kss ay sap gym mptm mtm med okt ult ptm dbm psf",
    )
)
SCORE_EXTENSIONS = frozenset(("mid", "midi", "rmi", "kar"))
"""Notes without sound: side files where the recording of the same name is there, else worth a word to the user."""
SIDE_EXTENSIONS = frozenset(
    re.findall(
        r"\S+",
        "jpg jpeg png gif bmp webp tif tiff svg ico txt md rst nfo log cue m3u m3u8 pls xspf db ini json jsonl xml "
        "html htm csv pdf doc rtf zip rar 7z gz xz tar py sh exe dll url lnk sfv md5 sha256 accurip lrc srt toml yml",
    )
)


@dataclass(frozen=True)
class Kind:
    """A format: its name, the extensions that are right for it, and the decoder.

    av_format is the one demuxer that FFmpeg may use for it (it must never guess: some of its demuxers open other files
    and addresses named in the data); empty where libsndfile reads it alone.
    chip is the library that renders game music ("gme", "openmpt", "fluidsynth").
    """

    name: str
    extensions: tuple[str, ...]
    av_format: str = ""
    soundfile: bool = False
    chip: str = ""


WAV = Kind("WAV", ("wav", "wave", "rf64"), "wav", soundfile=True)
AIFF = Kind("AIFF", ("aif", "aiff", "aifc"), "aiff", soundfile=True)
FLAC = Kind("FLAC", ("flac",), "flac", soundfile=True)
AU = Kind("AU", ("au", "snd"), "au", soundfile=True)
CAF = Kind("CAF", ("caf",), "caf", soundfile=True)
W64 = Kind("Wave64", ("w64",), "w64", soundfile=True)
OGG = Kind("Ogg", ("ogg", "oga", "opus", "spx", "ogv"), "ogg")
MPEG = Kind("MP3", ("mp3", "mp2", "mp1", "mpga"), "mp3")
AAC = Kind("AAC", ("aac",), "aac")
MP4 = Kind("MP4", ("m4a", "m4b", "mp4", "mov", "alac", "3gp"), "mov,mp4,m4a,3gp,3g2,mj2")
MATROSKA = Kind("Matroska", ("mka", "mkv", "webm", "weba"), "matroska,webm")
ASF = Kind("Windows Media", ("wma", "asf", "wmv"), "asf")
WAVPACK = Kind("WavPack", ("wv",), "wv")
APE = Kind("Monkey's Audio", ("ape",), "ape")
TTA = Kind("TTA", ("tta",), "tta")
MUSEPACK8 = Kind("Musepack", ("mpc",), "mpc8")
MUSEPACK7 = Kind("Musepack", ("mpc",), "mpc")
AVI = Kind("AVI", ("avi",), "avi")
AC3 = Kind("AC-3", ("ac3", "eac3", "ec3"), "ac3")
MOD = Kind("MOD", ("mod", "nst", "wow"), chip="openmpt")
MIDI = Kind("MIDI", ("mid", "midi", "rmi", "kar"), chip="fluidsynth")
VGM = Kind("VGM", ("vgm", "vgz"), chip="gme")

_SIGNATURES: tuple[tuple[int, bytes, Kind], ...] = (
    (8, b"WAVE", WAV),
    (8, b"AIFF", AIFF),
    (8, b"AIFC", AIFF),
    (8, b"AVI ", AVI),
    (0, b"fLaC", FLAC),
    (0, b"OggS", OGG),
    (0, b".snd", AU),
    (0, b"caff", CAF),
    (0, b"riff\x2e\x91\xcf\x11", W64),
    (4, b"ftyp", MP4),
    (4, b"moov", MP4),
    (0, b"\x1a\x45\xdf\xa3", MATROSKA),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", ASF),
    (0, b"wvpk", WAVPACK),
    (0, b"MAC ", APE),
    (0, b"TTA1", TTA),
    (0, b"MPCK", MUSEPACK8),
    (0, b"MP+", MUSEPACK7),
    (0, b"\x0b\x77", AC3),
    (0, b"Extended Module: ", Kind("XM", ("xm",), chip="openmpt")),
    (0, b"IMPM", Kind("IT", ("it", "mptm"), chip="openmpt")),
    (0, b"tpm.", Kind("MPTM", ("mptm",), chip="openmpt")),
    (0, b"MTM\x10", Kind("MTM", ("mtm",), chip="openmpt")),
    *((0, b"MMD%d" % number, Kind("MED", ("med", f"mmd{number}"), chip="openmpt")) for number in range(4)),
    (0, b"OKTASONG", Kind("Oktalyzer", ("okt", "okta"), chip="openmpt")),
    (0, b"MAS_UTrack_V00", Kind("UltraTracker", ("ult",), chip="openmpt")),
    (44, b"PTMF", Kind("PolyTracker", ("ptm",), chip="openmpt")),
    (0, b"DBM0", Kind("DigiBooster", ("dbm",), chip="openmpt")),
    (44, b"SCRM", Kind("S3M", ("s3m",), chip="openmpt")),
    (0, b"SNES-SPC700", Kind("SPC", ("spc",), chip="gme")),
    (0, b"NESM\x1a", Kind("NSF", ("nsf",), chip="gme")),
    (0, b"NSFE", Kind("NSFE", ("nsfe",), chip="gme")),
    (0, b"Vgm ", VGM),
    (0, b"GBS\x01", Kind("GBS", ("gbs",), chip="gme")),
    (0, b"HESM", Kind("HES", ("hes",), chip="gme")),
    (0, b"KSCC", Kind("KSS", ("kss",), chip="gme")),
    (0, b"KSSX", Kind("KSS", ("kss",), chip="gme")),
    (0, b"ZXAYEMUL", Kind("AY", ("ay",), chip="gme")),
    (0, b"SAP\r\n", Kind("SAP", ("sap",), chip="gme")),
    (0, b"GYMX", Kind("GYM", ("gym",), chip="gme")),
    (0, b"MThd", MIDI),
    (8, b"RMID", MIDI),
)
CHIP_EXTENSIONS = frozenset(
    extension for kind in (*(kind for _, _, kind in _SIGNATURES), MOD) if kind.chip for extension in kind.extensions
)
"""Those of game music that is no recording: the length of such a file says nothing of how long it plays."""
_CONVERT = "is not supported; convert it to FLAC first (ffmpeg -i IN OUT.flac)"
_UNSUPPORTED: tuple[tuple[int, bytes, str], ...] = (
    (0, b"version https://git-lfs", "a Git LFS pointer, not the audio itself; `git lfs pull` fetches it"),
    (0, b"DSD ", "DSD audio (DSF) is not supported; convert it to FLAC first"),
    (0, b"FRM8", "DSD audio (DFF) is not supported; convert it to FLAC first"),
    (0, b"RIFX", f"a WAV file with its bytes in the other order (RIFX), which {_CONVERT}"),
    (0, b"FLV\x01", f"Flash video (FLV), which {_CONVERT}"),
    (0, b"#!AMR", f"a phone's recording (AMR), which {_CONVERT}"),
    (0, b".RMF", f"RealMedia, which {_CONVERT}"),
    (0, b".ra\xfd", f"RealAudio, which {_CONVERT}"),
    (0, b"Creative Voice File", f"a Creative voice file (VOC), which {_CONVERT}"),
    (0, b"\0\0\1\xba", f"an MPEG program stream (.mpg, .vob), which {_CONVERT}"),
    (0, b"\xff\xd8\xff", "an image (JPEG), not audio"),
    (0, b"\x89PNG", "an image (PNG), not audio"),
    (0, b"GIF8", "an image (GIF), not audio"),
    (0, b"%PDF", "a PDF document, not audio"),
    (0, b"PK\x03\x04", "a ZIP archive, not audio; unpack it first"),
    (0, b"7z\xbc\xaf", "an archive (7z), not audio; unpack it first"),
    (0, b"Rar!", "an archive (RAR), not audio; unpack it first"),
    (0, b"\x1f\x8b", "a compressed file (gzip), not audio; unpack it first"),
)
_TRACKER_MARK = re.compile(  # at byte 1080 of a MOD file
    rb"M[.!]K[.!]|M&K!|N\.T\.|FEST|NSMS|LARD|PATT|FLT[48]|EXO[48]|CD[68]1|OKTA|OCTA|TDZ[1-9]|[1-9]CHN|[1-9]\dC[HN]"
)


def extension_of(name: str) -> str:
    """The lower-case extension without its dot; empty where there is none (also for `.hidden` and `..ogg`)."""
    stem, dot, extension = name.lower().rpartition(".")
    return extension if dot and stem.strip(".") else (extension if dot and extension in AUDIO_EXTENSIONS else "")


def identify(file: IO[bytes]) -> tuple[Kind, int]:
    """The format of an open file, and where it begins: some programs put tags or padding before any format.

    Raises:
        AudioError: as `sniff`.
    """
    file.seek(0)
    head = file.read(HEAD_BYTES)
    start = after_tags(file)
    body = _read(file, start)
    # After a tag, zeros are padding that the tag does not count; else they may belong to a format.
    padded = body.startswith(bytes(4))
    try:
        if not (padded and start):
            return sniff(head, body, start), start
    except AudioError as error:
        for kind, find in ((OGG, ogg.first_page), (AAC, raw_frames.first_frame)):
            # Recorders of streams leave what the server said in front, or begin in the middle of a frame.
            if isinstance(error, UnknownError) and (begin := find(head)) >= 0:
                return kind, begin
        if not padded:
            raise
    begin = after_tags(file, after_zeros(file, start))
    body = _read(file, begin)
    if body[1:5] == b"ftyp":  # its length begins with zeros of its own
        begin -= 3
        body = _read(file, begin)
    return sniff(body or head, body, start), begin


def _read(file: IO[bytes], at: int) -> bytes:
    file.seek(at)
    return file.read(HEAD_BYTES)


def sniff(head: bytes, body: bytes, tag_bytes: int = 0) -> Kind:
    """The format of a file.

    Args:
        head: its first bytes (`HEAD_BYTES` of them, or the whole file).
        body: the same from where its ID3 tag ends.
        tag_bytes: the length of that tag; 0 where there is none.

    Raises:
        AudioError: not audio, or a format that is not supported; the message is the reason for the report.
    """
    if not head:
        raise AudioError("empty file")
    if body.startswith(b"\x1f\x8b") and _begins_packed(body, b"Vgm "):
        return VGM
    for offset, mark, reason in _UNSUPPORTED:
        if head.startswith(mark, offset):
            raise AudioError(reason)
    for offset, mark, kind in _SIGNATURES:
        if body.startswith(mark, offset) and (kind not in (WAV, AIFF, AVI) or body[:4] in _CONTAINERS[kind.name]):
            return kind
    if _TRACKER_MARK.fullmatch(body[1080:1084]):
        return MOD
    if len(body) > 1 and body[0] == 0xFF and body[1] & 0xF6 == 0xF0:
        return AAC
    if tag_bytes or mpeg.find_frames(head, 0) is not None:
        return MPEG
    if body[:1] == b"G" and body[188:189] == b"G" and body[376:377] == b"G":
        raise AudioError(f"an MPEG transport stream (.ts), which {_CONVERT}")
    if body[:256].lstrip().lower().startswith((b"<!doctype html", b"<html")):
        raise AudioError("a web page, not audio: its download went wrong")
    if _is_text(head):
        raise UnknownError("plain text, not audio")
    if not any(head):
        raise AudioError("nothing but zero bytes: an unfinished download or a damaged disk")
    raise UnknownError("not recognised as any audio format: damaged, or not audio")


_CONTAINERS = {"WAV": (b"RIFF", b"RF64", b"BW64"), "AIFF": (b"FORM",), "AVI": (b"RIFF",)}


def _begins_packed(head: bytes, mark: bytes) -> bool:
    """Whether what is packed in a gzip file begins with `mark`."""
    try:
        return zlib.decompressobj(31).decompress(head, len(mark)) == mark
    except zlib.error:
        return False


def is_named(name: str, kind: Kind) -> bool:
    """Whether a file's name says that it is of that kind: by its extension, or as Amigas do, `mod.title`."""
    first = name.lower().partition(".")[0]
    return extension_of(name) in kind.extensions or (kind.chip == "openmpt" and first in kind.extensions)


def _is_text(head: bytes) -> bool:
    sample = head[:4096]
    try:
        text = sample.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(sample) - 4:
            return False
        text = sample[: error.start].decode("utf-8")
    return all(character.isprintable() or character in "\r\n\t\f" for character in text)
