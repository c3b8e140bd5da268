"""The one table of accepted formats, for the page, the commands, folders of clips and every message.

What a file holds is decided by its bytes (``containers.sniff``); a suffix only decides which files a dialog or a folder
offers.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Container(Enum):
    """A container; the value is FFmpeg's name of its demuxer."""

    WAV = "wav"
    FLAC = "flac"
    OGG = "ogg"
    MP3 = "mp3"
    AAC = "aac"
    MP4 = "mp4"
    MATROSKA = "matroska"

    @property
    def title(self) -> str:
        """The titles of the formats that use it, as in "M4A or MP4"."""
        return " or ".join(form.title for form in FORMATS if form.container is self)


@dataclass(frozen=True)
class AudioFormat:
    """One accepted format: its name in prose, its container, and the suffixes of its files, in lower case."""

    title: str
    container: Container
    suffixes: tuple[str, ...]


FORMATS = (
    AudioFormat("WAV", Container.WAV, (".wav",)),
    AudioFormat("FLAC", Container.FLAC, (".flac",)),
    AudioFormat("OGG", Container.OGG, (".ogg", ".oga")),
    AudioFormat("Opus", Container.OGG, (".opus",)),
    AudioFormat("MP3", Container.MP3, (".mp3",)),
    AudioFormat("M4A", Container.MP4, (".m4a",)),
    AudioFormat("AAC", Container.AAC, (".aac",)),
    AudioFormat("MP4", Container.MP4, (".mp4",)),
    AudioFormat("WebM", Container.MATROSKA, (".webm",)),
)

SUFFIXES = tuple(suffix for form in FORMATS for suffix in form.suffixes)

ACCEPTED = ", ".join(form.title for form in FORMATS[:-1]) + f" or {FORMATS[-1].title}"
"""The titles, for messages: "WAV, FLAC, … or WebM"."""
