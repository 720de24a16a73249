"""Decoding that cannot be fooled: by content, whole, and checked against what the file says of its own length.

game_music/    Game music that is not a recording
audio_file.py  One audio file, opened by its content and delivered whole, in blocks, or refused with a reason
boxes.py       The outermost parts of MP4
claim.py       What a file says of its own length, read from its structure without decoding it
flac.py        What a FLAC file says of its own length
mpeg.py        MPEG audio (MP3) told apart from noise, and counted frame by frame: its headers lie or are absent
ogg.py         Ogg pages
parts.py       The parts of a file that was joined from several
pcm.py         The length that WAV
raw_frames.py  Raw AAC
section.py     Part of a file as a file of its own
sniff.py       What a file is, told by its content and not by its name
speakers.py    Which channel is which
"""

from dualdiffusion.audio.decode.audio_file import AudioError, AudioFile, open_audio, rechunk
from dualdiffusion.audio.decode.game_music.song import Song, Take

__all__ = ["AudioError", "AudioFile", "Song", "Take", "open_audio", "rechunk"]
