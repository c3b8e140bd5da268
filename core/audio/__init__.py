"""Recordings: from the bytes of a file to mono samples at 32 kHz, and back."""

from core.audio.clip import Clip, DecodedClip, StreamedClip
from core.audio.decoding import SAMPLE_RATE, SILENT_PEAK
from core.audio.encoding import encode_flac, encode_wav
from core.audio.formats import SUFFIXES
from core.audio.loading import MAX_SECONDS, load_clip, open_clip

__all__ = [
    "MAX_SECONDS",
    "SAMPLE_RATE",
    "SILENT_PEAK",
    "SUFFIXES",
    "Clip",
    "DecodedClip",
    "StreamedClip",
    "encode_flac",
    "encode_wav",
    "load_clip",
    "open_clip",
]
