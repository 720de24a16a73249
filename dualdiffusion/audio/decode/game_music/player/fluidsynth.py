"""MIDI files by libfluidsynth 2 (its public header fluidsynth.h) and the sound font that the system has."""

from __future__ import annotations

import ctypes as c
from collections.abc import Iterator
from pathlib import Path

import midi
from library import BLOCK_FRAMES, CannotPlayError, MissingLibraryError

SAMPLE = c.c_float
"""What its samples are."""
_PLAYING = 1  # FLUID_PLAYER_PLAYING
_TAIL = 2.0  # s: the last notes ring on
_FONT_KEY = b"synth.default-soundfont"


class Player:
    """An open file. fluid: the library; rate: of what is played (Hz).

    Raises:
        MissingLibraryError: the system has no General MIDI sound font.
        CannotPlayError: the file is damaged, or holds no notes.
    """

    def __init__(self, fluid: c.CDLL, data: bytes, rate: int) -> None:
        # A RIFF file of the kind RMID holds the same in a chunk.
        self._fluid, self._data, self._rate = fluid, data[max(data.find(b"MThd"), 0) :], rate
        for name in ("new_fluid_settings", "new_fluid_synth", "new_fluid_player"):
            getattr(fluid, name).restype = c.c_void_p
        self._settings = c.c_void_p(fluid.new_fluid_settings())
        fluid.fluid_settings_setnum.argtypes = [c.c_void_p, c.c_char_p, c.c_double]
        fluid.fluid_settings_setnum(self._settings, b"synth.sample-rate", rate)
        fluid.fluid_settings_setint(self._settings, b"synth.lock-memory", 0)
        fluid.fluid_settings_setstr(self._settings, b"player.timing-source", b"sample")  # not the clock on the wall
        self._font = self._find_font()
        self._told = midi.told_of(self._data)

    def _find_font(self) -> bytes:
        """The font that the library was built to use, or another one beside it."""
        usual = c.c_char_p()
        self._fluid.fluid_settings_getstr_default(self._settings, _FONT_KEY, c.byref(usual))
        path = Path((usual.value or b"").decode())
        fonts = [path] if path.is_file() else sorted(path.parent.glob("*.sf[23]"))
        if not fonts:
            raise MissingLibraryError
        return str(fonts[0]).encode()

    def songs(self) -> list[dict[str, str | float | None]]:
        """The one song: its length in s, and texts."""
        return [self._told]

    def blocks(self, place: int) -> Iterator[c.Array]:
        """Blocks of interleaved stereo samples, until the last notes have rung out."""
        del place  # there is one song
        fluid, synth = self._fluid, c.c_void_p(self._fluid.new_fluid_synth(self._settings))
        if fluid.fluid_synth_sfload(synth, self._font, 1) < 0:
            raise CannotPlayError("the system's sound font cannot be read")
        player = c.c_void_p(fluid.new_fluid_player(synth))
        fluid.fluid_player_add_mem.argtypes = [c.c_void_p, c.c_char_p, c.c_size_t]
        fluid.fluid_player_add_mem(player, self._data, len(self._data))
        fluid.fluid_player_play(player)
        tail = round(_TAIL * self._rate)
        while tail > 0:
            block = (SAMPLE * (2 * BLOCK_FRAMES))()
            # Both channels into one block: left at even places, right at odd ones.
            fluid.fluid_synth_write_float(synth, BLOCK_FRAMES, block, 0, 2, block, 1, 2)
            yield block
            if fluid.fluid_player_get_status(player) != _PLAYING:
                tail -= BLOCK_FRAMES
