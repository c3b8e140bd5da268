"""After an interrupted installation: make pip forget the distributions of this environment whose files are not all there.

pip takes a distribution for installed once its metadata are on the disk, although the files beside them may be incomplete. Every
file that a RECORD lists with a size is looked at; where one is missing or of another size, the metadata are removed, and the
next `pip install` brings the distribution back. Only scripts/environment.sh runs this, under its lock.
"""

from __future__ import annotations

import csv
import shutil
import sys
import sysconfig
from pathlib import Path


def is_complete(metadata: Path) -> bool:
    """Whether every file that the RECORD in the folder `metadata` lists with a size has that size."""
    try:
        with open(metadata / "RECORD", encoding="utf-8", newline="") as file:
            rows = [row for row in csv.reader(file) if row]
        # Bytecode has no size in a RECORD: pip writes it after the installation, and may leave it out.
        return all((metadata.parent / path).stat().st_size == int(size) for path, _, size in rows if size)
    except (OSError, ValueError):
        return False


def forget_incomplete(site_packages: Path) -> list[str]:
    """Remove the metadata of the incomplete distributions in `site_packages`; returns their names and versions."""
    incomplete = [
        metadata for metadata in sorted(site_packages.glob("*.dist-info")) if not is_complete(metadata)
    ]
    for metadata in incomplete:
        shutil.rmtree(metadata)
    return [metadata.name.removesuffix(".dist-info") for metadata in incomplete]


if __name__ == "__main__":
    for name in forget_incomplete(Path(sysconfig.get_paths()["purelib"])):
        print(f"incomplete, to be installed again: {name}", file=sys.stderr)
