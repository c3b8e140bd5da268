"""A corpus of any size for trials of ``pannscope batch``: crops of real recordings at random gains, and some damaged files.

    python scripts/make_corpus.py ../shared/clips/audio CORPUS --clips 5000 --damaged 10

The same arguments make the same files. They are made from recordings with licences of their own: the corpus is for trials, not for the repository.
"""

from __future__ import annotations

import argparse
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from core.audio import SAMPLE_RATE, SUFFIXES, load_clip
from core.files import files_below

FOLDERS = 10
GAINS_DB = (-20.0, 6.0)


@lru_cache(maxsize=512)
def waveform(path: str) -> npt.NDArray[np.float32]:
    """A recording's samples, (samples,) at 32 kHz."""
    return load_clip(path).waveform


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recordings", type=Path, help="folder of the real recordings")
    parser.add_argument("corpus", type=Path, help="folder to write, outside of the repository")
    parser.add_argument("--clips", type=int, default=5000)
    parser.add_argument(
        "--seconds", type=float, default=5.0, help="length of the crops; shorter recordings stay whole"
    )
    parser.add_argument(
        "--damaged", type=int, default=10, help="how many of the clips are cut off, and cannot be decoded"
    )
    chosen = parser.parse_args()

    rng = np.random.default_rng(0)
    paths = list(files_below(chosen.recordings, SUFFIXES))
    damaged = set(rng.choice(chosen.clips, chosen.damaged, replace=False).tolist())
    for number in range(chosen.clips):
        source = Path(paths[number % len(paths)])
        whole = waveform(str(source))
        samples = min(len(whole), round(chosen.seconds * SAMPLE_RATE))
        start = int(rng.integers(0, len(whole) - samples + 1))
        gain = 10 ** (rng.uniform(*GAINS_DB) / 20)
        target = chosen.corpus / f"site-{number % FOLDERS}" / f"{number:06d}-{source.stem}.flac"
        target.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(
            target, np.clip(gain * whole[start : start + samples], -1, 1), SAMPLE_RATE, subtype="PCM_16"
        )
        if number in damaged:
            target.write_bytes(target.read_bytes()[:30])


if __name__ == "__main__":
    main()
