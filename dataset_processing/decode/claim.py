"""What a file says of its own length, read from its structure without decoding it."""

from __future__ import annotations

from dataclasses import dataclass


class AudioError(Exception):
    """Why a file is refused, as a sentence that a person without knowledge of formats understands."""


@dataclass(frozen=True)
class Claim:
    """A file's own statement about its audio.

    frames is how many sample frames it says it holds (None: it does not say, or only estimates); tolerance is how
    many may be missing without harm (codec delay); md5 is the checksum of the decoded samples and bits their depth,
    where the file states them.
    """

    frames: int | None = None
    tolerance: int = 0
    notes: tuple[str, ...] = ()
    md5: bytes | None = None
    bits: int | None = None

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
