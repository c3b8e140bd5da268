"""The recording that a visitor chose, before anything is decoded."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from core.examples import EXAMPLES


@dataclass(frozen=True, eq=False)
class Source:
    """A file, a microphone recording or an example.

    Attributes
    ----------
    name : for display, never a path.
    key : sha256 of the bytes and the name, or the example's key; everything computed from the source is cached under it.
    data : the bytes of the file, or None for an example.
    example : the key of a synthesised clip, or None.
    """

    name: str
    key: str
    data: bytes | None = None
    example: str | None = None

    @classmethod
    def of_example(cls, key: str, title: str) -> Source:
        """A synthesised clip."""
        return cls(name=title, key=f"example:{key}", example=key)

    @classmethod
    def of_bytes(cls, name: str, data: bytes) -> Source:
        """A file or a recording of the visitor's own. Equal bytes under another name share their results, not the name."""
        return cls(name=name, key=f"{hashlib.sha256(data).hexdigest()}:{name}", data=data)


def example_sources() -> list[Source]:
    """All synthesised clips."""
    return [Source.of_example(example.key, example.title) for example in EXAMPLES]
