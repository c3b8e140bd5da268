"""Write core/data/mel_filterbank.npz: the mel filters of the published front end and their centres, by librosa.

``tests/core/test_frontend.py`` compares the file with librosa.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from core.models.frontend import FRONT_END, librosa_filterbank

TARGET = Path(__file__).resolve().parent.parent / "core" / "data" / "mel_filterbank.npz"


def main() -> None:
    """Overwrite the file."""
    matrix, centers = librosa_filterbank(FRONT_END)
    np.savez_compressed(TARGET, matrix=matrix, centers=centers)


if __name__ == "__main__":
    main()
