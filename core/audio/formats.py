"""The one table of accepted formats, for the page, the commands, folders of clips and every message.

What a file holds is decided by its bytes; a suffix only decides which files a dialog or a folder offers.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class AudioFormat:
    """One accepted format: its name in prose, FFmpeg's name of its demuxer, and the suffixes of its files, in lower case."""

    title: str
    demuxer: str
    suffixes: tuple[str, ...]


FORMATS = (
    AudioFormat("WAV", "wav", (".wav",)),
    AudioFormat("W64", "w64", (".w64",)),
    AudioFormat("AIFF", "aiff", (".aiff", ".aif", ".aifc")),
    AudioFormat("AU", "au", (".au",)),
    AudioFormat("CAF", "caf", (".caf",)),
    AudioFormat("FLAC", "flac", (".flac",)),
    AudioFormat("OGG", "ogg", (".ogg", ".oga")),
    AudioFormat("Opus", "ogg", (".opus",)),
    AudioFormat("MP3", "mp3", (".mp3",)),
    AudioFormat("AAC", "aac", (".aac",)),
    AudioFormat("M4A", "mov", (".m4a", ".m4b")),
    AudioFormat("MP4", "mov", (".mp4", ".m4v")),
    AudioFormat("MOV", "mov", (".mov",)),
    AudioFormat("3GP", "mov", (".3gp", ".3g2")),
    AudioFormat("Matroska", "matroska", (".mka", ".mkv")),
    AudioFormat("WebM", "matroska", (".webm", ".weba")),
)

SUFFIXES = tuple(suffix for form in FORMATS for suffix in form.suffixes)

ACCEPTED = ", ".join(form.title for form in FORMATS[:-1]) + f" or {FORMATS[-1].title}"
"""The titles, for messages: "WAV, W64, … or WebM"."""

CODECS = (
    *("aac", "ac3", "alac", "amr_nb", "amr_wb", "dts", "eac3", "flac", "gsm", "gsm_ms", "mp1", "mp2", "mp3"),
    *("opus", "speex", "truehd", "vorbis", "wavpack"),
)
"""Codecs that are decoded, by FFmpeg's names; all of ``CODEC_FAMILIES`` are, too. FFmpeg has some 200 more, of games and of
old programs, in which nobody records and whose decoders few people test."""

CODEC_FAMILIES = ("pcm_", "adpcm_")


def is_accepted_codec(codec: str) -> bool:
    """Whether a codec, by FFmpeg's name, is decoded.

    >>> is_accepted_codec("pcm_mulaw"), is_accepted_codec("wmav2")
    (True, False)
    """
    return codec in CODECS or codec.startswith(CODEC_FAMILIES)


def titles_of(demuxer: str) -> str:
    """The formats that a demuxer of FFmpeg reads, as in "OGG or Opus"; empty for one that is not accepted.

    FFmpeg gives some demuxers several names: "matroska,webm".

    >>> titles_of("matroska,webm"), titles_of("avi")
    ('Matroska or WebM', '')
    """
    names = demuxer.split(",")
    return " or ".join(form.title for form in FORMATS if form.demuxer in names)
