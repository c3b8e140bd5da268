"""Write checkpoints/CREDITS.md: who recorded what the embedded networks were trained on, from the two data sets' tables.

python scripts/credits.py CLIPS POOL

``CLIPS`` and ``POOL`` are folders with a ``meta.csv`` each; checkpoints/README.md describes both.
"""

from __future__ import annotations

import csv
import re
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

TARGET = Path(__file__).resolve().parent.parent / "checkpoints" / "CREDITS.md"

_CONTINUED = {
    "gorilla": "Anton Baotic, Florian Sicks and Angela S. Stoeger",
    "hyena": "N. Mathevon, A. Koralek, M. Weldele, S. Glickman and F. Theunissen",
    "piano": "Scott Joplin and Tim Starling",
}
"""Authors of whom the table of AntumMT/mod-sounds only says that its sources.md goes on below."""

_UNNAMED = ("", "N/A", "[↓](#authors)")

_NO_VERSION = "CC-BY (version not stated)"

_HEAD = """# Credits

The recordings that the embedded networks were trained and, held out, measured on, by author. They are not part of this repository or of the networks' files; for training
they were cut, mixed, filtered and given other levels, and the clips were re-encoded. `scripts/credits.py`
makes this page from the data sets' own tables. A number is a sound on freesound.org, reached as `https://freesound.org/s/NUMBER/`.

Licences: [CC BY 2.0](https://creativecommons.org/licenses/by/2.0/), [CC BY 3.0](https://creativecommons.org/licenses/by/3.0/),
[CC BY 4.0](https://creativecommons.org/licenses/by/4.0/), [CC0 1.0](https://creativecommons.org/publicdomain/zero/1.0/),
[MIT](https://spdx.org/licenses/MIT.html), [BSD 3-Clause](https://spdx.org/licenses/BSD-3-Clause.html),
[Apache 2.0](https://www.apache.org/licenses/LICENSE-2.0). *CC BY, unnumbered* stands where the table names no version: the
page of the recording, or the collection that it is from, states it.

**The teacher** of `demo-cnn14` and `demo-epanns`: `mn04` of EfficientAT, MIT licence, © 2022 Florian Schmid. F. Schmid,
K. Koutini, G. Widmer, "Efficient large-scale audio tagging via transformer-to-CNN knowledge distillation", ICASSP 2023 (arXiv:2211.04772).
"""


def main(clips: Path, pool: Path) -> None:
    """Write the page."""
    lines = [_HEAD, "## Labelled clips", "", *_clips(_rows(clips)), ""]
    lines += ["## Recordings without labels", "", *_pool(_rows(pool))]
    TARGET.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "meta.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _clips(rows: list[dict[str, str]]) -> list[str]:
    counts = Counter("speech" if row["category"] == "speech" else row["category"] == "music" for row in rows)
    recorded: dict[tuple[str, ...], dict[str, None]] = {}
    for row in rows:
        if row["category"] != "speech":
            key = (row["author"], _licence(row["licence"]))
            recorded.setdefault(key, {})[_address(row["source"])] = None
    return [
        f"- **Speech:** {counts['speech']} speakers of LibriSpeech train-clean-100 (Panayotov, Chen, Povey, Khudanpur, ICASSP 2015), CC BY 4.0,",
        "  https://www.openslr.org/12/.",
        f'- **Environmental sounds:** {counts[False]} clips of ESC-10 (K. J. Piczak, "ESC: Dataset for Environmental Sound Classification", ACM',
        "  Multimedia 2015), folds 1 to 4 (the fourth is held out), each under the licence its author chose.",
        f"- **Music:** {counts[True]} excerpts of recordings that librosa and the MAX audio classifier use as examples.",
        "",
        *_table(("author", "licence", "recordings"), [(*key, ", ".join(recorded[key])) for key in recorded]),
    ]


def _pool(rows: list[dict[str, str]]) -> list[str]:
    recorded: dict[tuple[str, str, str], dict[str, int]] = {}
    for row in rows:
        addresses = [_address(url) for url in row["url"].split() if url.startswith("http")]
        # the table repeats an author's own page behind each sound's address
        addresses = [url for url in addresses if not re.search(r"freesound\.org/people/[^/]+/?$", url)]
        where = " ".join(dict.fromkeys(addresses)) or f"see {row['evidence']}"
        key = (_author(row), _licence(row["licence"]), row["source"].removeprefix("github:"))
        counted = recorded.setdefault(key, {})
        counted[where] = counted.get(where, 0) + 1
    table = [
        (
            *key,
            ", ".join(where + (f" ({count} clips)" if count > 1 else "") for where, count in counted.items()),
        )
        for key, counted in recorded.items()
    ]
    return [
        f"{len(rows):,} clips of at most 10 s, the held-out ones among them. *From* is the collection: a GitHub repository, a Debian package, or what was",
        "rendered or synthesised for this; a file that is named is the collection's own statement of authors and licences.",
        "",
        *_table(("author", "licence", "from", "recordings"), table),
    ]


def _author(row: dict[str, str]) -> str:
    if row["author"] not in _UNNAMED:
        return row["author"]
    known = (name for part, name in _CONTINUED.items() if part in row["filename"])
    return next(known, "not named by the collection")


def _licence(text: str) -> str:
    if text in ("CC-BY", _NO_VERSION):
        return "CC BY, unnumbered"
    return re.sub(r"^CC-BY-", "CC BY ", text).replace("CC0-1.0", "CC0")


def _address(url: str) -> str:
    sound = re.search(r"freesound\.org/(?:s|sounds|people/[^/]+/sounds)/(\d+)", url)
    return sound[1] if sound else url


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    ordered = sorted(rows, key=lambda row: (row[0].casefold(), *row[1:]))
    return [_line(head), "|" + "---|" * len(head), *map(_line, ordered)]


def _line(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("<", "&lt;") for cell in cells) + " |"


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python scripts/credits.py CLIPS POOL")
    main(*map(Path, sys.argv[1:]))
