"""Decoding that cannot be fooled: by content, whole, and checked against what the file says of its own length."""

from dataset_processing.decode.audio_file import AudioError, AudioFile, open_audio, rechunk

__all__ = ["AudioError", "AudioFile", "open_audio", "rechunk"]
