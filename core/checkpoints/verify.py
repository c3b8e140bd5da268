"""What a downloaded file has to be: the checksum that is published for it, or where none is, exactly the tensors of its architecture."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core import settings
from core.checkpoints.download import Cancelled, read_text
from core.checkpoints.entries import Entry
from core.checkpoints.loading import load_checkpoint
from core.errors import CheckpointError, DownloadError

_API_BYTES = 8 * 1024 * 1024  # the longest response that is read from the record's API
_ALGORITHMS = ("sha256", "md5")

BY_CONTENT = "its tensors: no checksum is published"
"""What verified a file of which no checksum is published."""


@dataclass(frozen=True)
class Expected:
    """The published checksums of a file and its size; without either the file is checked by its tensors.

    ``by`` is what verifies it: "manifest", the API's address, or ``BY_CONTENT``.
    """

    size_bytes: int | None
    md5: str | None
    sha256: str | None
    by: str


def expected(wanted: Entry, cancelled: Cancelled | None) -> Expected:
    """The manifest's checksum, or else the record's; none where there is no record. Raises ``DownloadError``."""
    if wanted.md5 or wanted.sha256:
        return Expected(wanted.size_bytes, wanted.md5, wanted.sha256, "manifest")
    if wanted.record is None:
        return Expected(wanted.size_bytes, None, None, BY_CONTENT)
    url = address(f"{settings.ZENODO}/api/records/{wanted.record}")
    listed = next((file for file in _record_files(url, cancelled) if file.get("key") == wanted.file), None)
    if listed is None:
        raise DownloadError(
            f"{url} lists no file {wanted.file}; and without its checksum nothing is installed."
        )
    algorithm, _, value = str(listed.get("checksum") or "").partition(":")
    if algorithm not in _ALGORITHMS or not value:
        raise DownloadError(
            f"{url} lists no md5 or sha256 of {wanted.file}, and without one nothing is installed."
        )
    size = listed.get("size")
    return Expected(
        size_bytes=size if isinstance(size, int) and size > 0 else wanted.size_bytes,
        md5=value if algorithm == "md5" else None,
        sha256=value if algorithm == "sha256" else None,
        by=url,
    )


def digest(path: Path) -> dict[str, str]:
    """Both checksums of a file, as hexadecimal digits, from one reading. Raises ``DownloadError``."""
    sums = {name: hashlib.new(name, usedforsecurity=False) for name in _ALGORITHMS}
    try:
        with path.open("rb") as file:
            while piece := file.read(1 << 20):
                for checksum in sums.values():
                    checksum.update(piece)
        return {name: checksum.hexdigest() for name, checksum in sums.items()}
    except OSError as error:
        raise DownloadError(
            f"{path} cannot be read: {error.strerror or error}; move it away and fetch again."
        ) from error


def mismatch(wanted: Entry, published: Expected, path: Path, sums: dict[str, str]) -> str | None:
    """How a file differs from the published one, or None."""
    size = path.stat().st_size
    if published.size_bytes not in (None, size):
        return f"{size} bytes, not {published.size_bytes}"
    for algorithm in _ALGORITHMS:
        listed = getattr(published, algorithm)
        if listed is not None and sums[algorithm] != listed.lower():
            return f"{algorithm} {sums[algorithm]}, not {listed.lower()}"
    return _other_content(wanted, path) if published.by == BY_CONTENT else None


def address(url: str) -> str:
    """``url``, on the mirror where ``PANNSCOPE_ZENODO`` names one."""
    home = settings.ZENODO + "/"
    return f"{settings.zenodo()}/{url.removeprefix(home)}" if url.startswith(home) else url


def _other_content(wanted: Entry, path: Path) -> str | None:
    """Why a file is not a checkpoint of the entry's architecture and size, or None."""
    try:
        model = load_checkpoint(path, architecture=wanted.architecture).model
    except CheckpointError as error:
        return str(error).rstrip(".")
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return None if parameters == wanted.params else f"{parameters:,} parameters, not {wanted.params:,}"


def _record_files(url: str, cancelled: Cancelled | None) -> list[dict[str, Any]]:
    """``files[]`` of a Zenodo record, from its API."""
    body = read_text(url, limit=_API_BYTES, accept="application/json", cancelled=cancelled)
    try:
        files = json.loads(body)["files"]
        return [file for file in files if isinstance(file, dict)]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DownloadError(
            f"{url} did not return a record, and without its checksums nothing is installed: fetch again later."
        ) from error
