"""What a file says of its own length, read from its structure without decoding it."""

from __future__ import annotations

from dataclasses import dataclass


class AudioError(Exception):
    """Why a file is refused, as a sentence that a person without knowledge of formats understands."""


@dataclass(frozen=True)
class Claim:
    """A file's own statement about its audio.

    Attributes:
        frames: how many sample frames it says it holds (None: it does not say, or only estimates).
        tolerance: how many may be missing without harm (codec delay).
        notes: sentences for the report.
        md5, bits: the checksum of the decoded samples and their depth, where the file states them.
        start, end: the bytes of the file that are audio; an end of None is the end of the file.
        header: what decoders get to see in place of all that stands before `start`; empty where that is left out.
        sample_rate: the rate in Hz that `frames` counts in, where the decoder's may be another; 0 for the decoder's.
        speakers: which channel is which, by the short names of the WAV channel mask (FL, FR, FC, LFE, ...).
        needs_ffmpeg: whether libsndfile would read a file wrongly that it usually reads.
    """

    frames: int | None = None
    tolerance: int = 0
    notes: tuple[str, ...] = ()
    md5: bytes | None = None
    bits: int | None = None
    start: int = 0
    end: int | None = None
    sample_rate: int = 0
    speakers: tuple[str, ...] = ()
    needs_ffmpeg: bool = False
    header: bytes = b""

    def check(self, delivered: int, sample_rate: int) -> None:
        """Compares with the number of frames that the decoder delivered.

        Raises:
            AudioError: fewer frames than the file says it holds.
        """
        if self.frames is not None and delivered < self.frames - self.tolerance:
            raise AudioError(
                f"truncated or damaged: only {delivered / sample_rate:.2f} s of the {self.frames / sample_rate:.2f} s "
                "that the file says it holds can be decoded"
            )


def left_out(count: int) -> tuple[str, ...]:
    """The note about bytes that follow the audio; none for no bytes."""
    return (f"{count} bytes after its end are left out",) if count else ()
