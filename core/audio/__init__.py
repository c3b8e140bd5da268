"""Recordings: from the bytes of a file to mono samples at 32 kHz, and back."""

from core.audio.clip import MAX_SECONDS, SAMPLE_RATE, Clip, encode_wav, load_clip
from core.audio.streamed import LongClip, encode_flac, open_clip

__all__ = [
    "MAX_SECONDS",
    "SAMPLE_RATE",
    "Clip",
    "LongClip",
    "encode_flac",
    "encode_wav",
    "load_clip",
    "open_clip",
]
