"""The recording that a visitor chose, before anything is decoded."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from core.audio import Channel
from core.errors import AudioError
from core.examples import EXAMPLES


@dataclass(eq=False)
class Recording:
    """The bytes of a file, until the server needs their memory for something else."""

    data: bytes | None

    @property
    def nbytes(self) -> int:
        """Bytes that it holds."""
        return len(self.data or b"")


@dataclass(frozen=True, eq=False)
class Source:
    """A file, a microphone recording or an example.

    Attributes
    ----------
    name : for display, never a path.
    identity : sha256 of the bytes and the name, or the example's key.
    recording : the file, or None for an example.
    example : the key of a synthesised clip, or None.
    channel : which of its channels is used.
    """

    name: str
    identity: str
    recording: Recording | None = None
    example: str | None = None
    channel: Channel = "mean"

    @classmethod
    def of_example(cls, key: str, title: str) -> Source:
        """A synthesised clip."""
        return cls(name=title, identity=f"example:{key}", example=key)

    @classmethod
    def of_bytes(cls, name: str, data: bytes) -> Source:
        """A file or a recording of the visitor's own. Equal bytes under another name share their results, not the name."""
        return cls(
            name=name, identity=f"{hashlib.sha256(data).hexdigest()}:{name}", recording=Recording(data)
        )

    def with_channel(self, channel: Channel) -> Source:
        """The same recording, of which another channel is used."""
        return replace(self, channel=channel)

    @property
    def key(self) -> str:
        """Everything that is computed from the source is cached under it."""
        return self.identity if self.channel == "mean" else f"{self.identity}:channel {self.channel}"

    @property
    def data(self) -> bytes:
        """The bytes of the file. Raises ``AudioError`` where they were removed from the server's memory."""
        if self.recording is None or self.recording.data is None:
            raise AudioError(f'"{self.name}" is no longer in this server\'s memory; add it again.')
        return self.recording.data

    def check(self) -> None:
        """Raise ``AudioError`` where the bytes were removed from the server's memory: what still works on them can end."""
        if self.recording is not None:
            _ = self.data

    @property
    def address_key(self) -> str:
        """Ten hexadecimal digits that name it in a page's address."""
        return hashlib.sha256(self.identity.encode()).hexdigest()[:10]


def example_sources() -> list[Source]:
    """All synthesised clips."""
    return [Source.of_example(example.key, example.title) for example in EXAMPLES]
