"""A data set of made-up rows, of any size, for trials of the Corpus page: two networks that mostly agree, five tags a row.

    python scripts/make_rows.py ROWS --clips 500000

The same arguments make the same rows. There are no recordings behind them: the page says that they cannot be played.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pyarrow
from pyarrow import parquet

from core.batch.dataset import Settings, row_schema, rows_folder
from core.classes import audioset

NETWORKS = ("demo-cnn14", "demo-epanns")
TOP, PART_CLIPS = 5, 1000  # a part file as `pannscope batch` writes them
NAMES = np.array([each.name for each in audioset()])


def part(clips: np.ndarray, seed: tuple[int, int]) -> pyarrow.Table:
    """The rows of one network for some clips: tags near each other in the list of classes, probabilities that fall."""
    rng = np.random.default_rng(seed)
    count = len(clips)
    first = np.random.default_rng(seed[0]).integers(0, len(NAMES) - TOP - 1, count)  # of both networks
    tags = first[:, None] + rng.permuted(np.tile(np.arange(TOP + 1), (count, 1)), axis=1)[:, :TOP]
    probabilities = np.sort(rng.beta(1, 4, (count, TOP)).astype(np.float32), axis=1)[:, ::-1]
    ends = pyarrow.array(np.arange(0, TOP * count + 1, TOP, dtype=np.int32))
    names = [f"site-{number % 10}/{number:07d}.flac" for number in clips]
    columns = {
        "clip": names,
        "path": [f"/made-up/{name}" for name in names],
        "sha256": ["0" * 64] * count,
        "duration_s": np.full(count, 10.0),
        "start_s": np.zeros(count),
        "end_s": np.full(count, 10.0),
        "tags": pyarrow.ListArray.from_arrays(ends, pyarrow.array(NAMES[tags.ravel()])),
        "tag_probabilities": pyarrow.ListArray.from_arrays(ends, pyarrow.array(probabilities.ravel())),
        "checkpoint": ["0" * 64] * count,
        "runtime": ["torch"] * count,
        "versions": ["made up"] * count,
    }
    schema = row_schema(Settings(None, None, TOP, False, False, "mean", 86_400.0), 0, 0)
    return pyarrow.table([columns[name] for name in schema.names], schema=schema)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", type=Path, help="folder to write")
    parser.add_argument("--clips", type=int, default=500_000)
    chosen = parser.parse_args()
    for network, name in enumerate(NETWORKS):
        folder = chosen.rows / rows_folder(name)
        folder.mkdir(parents=True, exist_ok=True)
        starts = range(0, chosen.clips, PART_CLIPS)
        for number, start in enumerate(starts):
            clips = np.arange(start, min(start + PART_CLIPS, chosen.clips))
            file = folder / f"part-1of1-{number + 1:05d}of{len(starts):05d}.parquet"
            parquet.write_table(part(clips, (number, network)), file, compression="zstd")


if __name__ == "__main__":
    main()
