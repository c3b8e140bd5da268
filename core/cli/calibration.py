"""The clips that sensitivity is measured on, a plan is searched on, or a network is repaired on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core.cli.options import ChannelOption, FoldsOption, channel_of
from core.errors import DataError

if TYPE_CHECKING:
    import numpy as np

    from core.tagging import Tagger


def recordings(paths: Iterable[Path]) -> list[Path]:
    """The files among ``paths``, and what has the suffix of a recording in the folders, in the order of the names.

    Raises
    ------
    DataError
        A folder has no recordings.
    """
    from core.audio import SUFFIXES

    files: list[Path] = []
    for path in paths:
        if not path.is_dir():
            files.append(path)
            continue
        inside = sorted(
            file
            for file in path.iterdir()
            if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")
        )
        if not inside:
            raise DataError(f"The folder {path} contains no recordings ({', '.join(SUFFIXES)}).")
        files += inside
    return files


@dataclass(frozen=True)
class CalibrationOptions:
    """Calibration clips: recordings, or the labelled clips of a manifest."""

    clips: Annotated[
        list[Path] | None,
        typer.Option("--clips", metavar="PATH", help="A recording or a folder of them; can be repeated."),
    ] = None
    manifest: Annotated[
        Path | None,
        typer.Option(
            "--manifest", metavar="CSV", help="Labelled clips instead: losses are then drops of mAP."
        ),
    ] = None
    audio: Annotated[
        Path | None, typer.Option("--audio", metavar="FOLDER", help="Folder of the manifest's recordings.")
    ] = None
    folds: FoldsOption = None
    channel: ChannelOption = "mean"

    def check(self, needed_for: str | None) -> None:
        """Raise ``DataError`` for contradictions, and where there are no clips but ``needed_for`` needs some."""
        if self.clips and self.manifest:
            raise DataError("Both --clips and --manifest were given; give one of them.")
        if (self.manifest is None) != (self.audio is None) or (self.folds and not self.manifest):
            raise DataError(
                "Labelled clips are a --manifest and the folder of its recordings, --audio; give both."
            )
        if needed_for and not self.clips and not self.manifest:
            raise DataError(
                f"{needed_for} needs clips; give --clips FILE or FOLDER, or --manifest and --audio."
            )

    def read(self, tagger: Tagger) -> tuple[list[np.ndarray], np.ndarray | None]:
        """The waveforms, (samples,) each, and where there are labels the targets, (clips, classes)."""
        from core.audio import load_clip
        from core.training.data import read_manifest

        used = channel_of(self.channel)
        if self.manifest is None or self.audio is None:
            return [load_clip(path, channel=used).waveform for path in recordings(self.clips or ())], None
        labelled = read_manifest(self.manifest, self.audio, tagger.classes, channel=used)
        if self.folds is not None:
            labelled = labelled.select([fold.strip() for fold in self.folds.split(",")])
        return [labelled.waveform(row) for row in range(len(labelled))], labelled.targets
