"""Recordings: from the bytes of a file to mono samples at 32 kHz, and back."""

from core.audio.clip import Clip, DecodedClip, StreamedClip, UncheckedClip
from core.audio.encoding import SoundEncoder, encode_wav, synthesized_clip
from core.audio.formats import SUFFIXES
from core.audio.levels import SILENT_PEAK
from core.audio.limits import SAMPLE_RATE
from core.audio.loading import MAX_SECONDS, Channel, OnProgress, Opening, load_clip, open_clip
from core.audio.pool import POOL

__all__ = [
    "MAX_SECONDS",
    "POOL",
    "SAMPLE_RATE",
    "SILENT_PEAK",
    "SUFFIXES",
    "Channel",
    "Clip",
    "DecodedClip",
    "OnProgress",
    "Opening",
    "SoundEncoder",
    "StreamedClip",
    "UncheckedClip",
    "encode_wav",
    "load_clip",
    "open_clip",
    "synthesized_clip",
]
