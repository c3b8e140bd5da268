"""What a corpus of ten million clips costs with CNN14 and with E-PANNs, the tables of docs/scaling.md.

    python scripts/corpus_costs.py ../shared/clips/audio

Times are those that docs/performance.md has measured (one clip of 10 s on one thread, and decoding it); sizes are measured here, on some recordings with the embedded network of 527 classes.
"""

from __future__ import annotations

import argparse
import re
import tempfile
from pathlib import Path

from core.audio import SUFFIXES
from core.batch.dataset import Settings
from core.batch.work import Job, NetworkFile, Part, process_part, use_one_thread
from core.files import files_below
from core.tagging import Tagger, load_tagger
from core.units import prefixed

PERFORMANCE = Path(__file__).resolve().parents[1] / "docs" / "performance.md"
CLIPS, SECONDS, CORES, MACHINES = 10_000_000, 10, 16, (1, 10, 100)
NETWORKS = {"CNN14": "cnn14", "E-PANNs": "epanns"}
ENGINE, SIZED = "winograd-fast", "demo-epanns-527"
UNITS = 2048  # of CNN14's embedding and E-PANNs'


def table(name: str) -> list[list[str]]:
    """The cells of one of the measured tables of docs/performance.md."""
    text = PERFORMANCE.read_text(encoding="utf-8")
    part = text.partition(f"<!-- measured: {name} -->")[2].partition("<!-- end")[0]
    return [
        [cell.strip() for cell in line.strip("| ").split("|")]
        for line in part.splitlines()
        if line.startswith("|")
    ]


def seconds_a_clip(network: str) -> float:
    """Seconds of one core for a clip of ten seconds: decoding, and the network on one thread."""
    (run,) = [row[2] for row in table("threads") if row[:2] == [ENGINE, network]]
    (decode,) = [row[2] for row in table("stages") if row[:2] == [ENGINE, str(SECONDS)]]
    return (float(re.findall(r"[\d.]+", run)[0]) + float(decode)) / 1e3


def measure(tagger: Tagger, paths: list[str], out: Path, *, probabilities: bool) -> tuple[float, float]:
    """Bytes that a clip of ten seconds has, and its row."""
    settings = Settings(None, None, 5, probabilities, False, "mean", 86_400.0)
    job = Job(
        (NetworkFile({}, tagger.name, tagger.info.sha256),), settings, str(Path(paths[0]).parent), str(out)
    )
    clips = tuple((Path(path).name, path) for path in paths)
    part = Part(
        clips, {tagger.name: "part.parquet"}, "part.parquet", {tagger.name: frozenset(range(len(clips)))}
    )
    result = process_part(job, {tagger.name: tagger}, part)
    written = sum(path.stat().st_size for path in out.rglob("*.parquet"))
    return SECONDS * result.bytes_read / result.audio_s, written / result.rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recordings", type=Path)
    parser.add_argument("--clips", type=int, default=100)
    chosen = parser.parse_args()
    use_one_thread()
    found = sorted(files_below(chosen.recordings.resolve(), SUFFIXES))
    paths = found[:: max(1, len(found) // chosen.clips)][: chosen.clips]
    tagger = load_tagger(SIZED, runtime="torch")
    with tempfile.TemporaryDirectory(prefix="pannscope-costs-") as folder:
        read, tags = measure(tagger, paths, Path(folder, "tags"), probabilities=False)
        _, all_of_them = measure(tagger, paths, Path(folder, "all"), probabilities=True)
    print(
        f"{len(paths)} recordings: {prefixed(read, 'B')} for {SECONDS} s, {prefixed(CLIPS * read, 'B')} for ten million clips\n"
    )
    print(f"| network | a clip, one core | core hours | machines of {CORES} cores | hours | each one reads |")
    print("|---|---|---|---|---|---|")
    for title, name in NETWORKS.items():
        cost = seconds_a_clip(name)
        for machines in MACHINES:
            hours = CLIPS * cost / (CORES * machines) / 3600
            rate = prefixed(CLIPS * read / machines / hours / 3600, "B/s")
            print(
                f"| {title} | {1e3 * cost:.0f} ms | {CLIPS * cost / 3600:,.0f} | {machines} | {hours:,.1f} | {rate} |"
            )
    print("\n| a row has | bytes | ten million |\n|---|---|---|")
    sizes = {
        "five tags": tags,
        "and 527 probabilities": all_of_them,
        f"and {UNITS} units": all_of_them + 4 * UNITS,
    }
    for title, size in sizes.items():
        print(f"| {title} | {size:,.0f} | {prefixed(CLIPS * size, 'B')} |")


if __name__ == "__main__":
    main()
