"""Zip files that are the same bytes for the same contents: no dates, fixed order and permissions."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date a zip archive can hold
_FILE = 0o644 << 16

_TEXTS = (".csv", ".html", ".json", ".md", ".param", ".py", ".txt", ".wav")
"""Weights do not get smaller by compression; these do."""


def write_zip(target: Path, entries: Iterable[tuple[str, Path | str | bytes]]) -> None:
    """Write files (name -> a path to copy, a text or bytes) in the given order."""
    with zipfile.ZipFile(target, "w") as archive:
        for name, source in entries:
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr = _FILE
            entry.compress_type = zipfile.ZIP_DEFLATED if Path(name).suffix in _TEXTS else zipfile.ZIP_STORED
            if isinstance(source, Path):
                entry.file_size = source.stat().st_size  # so that a large one gets the large header
                with source.open("rb") as file, archive.open(entry, "w") as copy:
                    while piece := file.read(1 << 20):
                        copy.write(piece)
            else:
                archive.writestr(entry, source)
