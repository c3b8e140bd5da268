"""Measure what docs/performance.md states: python benchmarks/bench.py --out FILE.json

Run it on an otherwise idle machine: it takes about ten minutes on two cores. The results are saved after every part, and --resume
continues from there. Then: python benchmarks/performance_page.py FILE.json
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core.files import atomic_write
from core.runtime import process

PARTS = ("engines", "length", "ratio", "threads", "batch", "processes", "precision")


def main() -> int:
    """Measure the requested parts, all by default, and keep the others that FILE has."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.json")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART", help=f"of {PARTS}")
    parser.add_argument("--resume", action="store_true", help="skip the parts that FILE has already")
    parser.add_argument("--repeats", type=int, default=15, help="timed passes of the first part (15)")
    parser.add_argument("--quick", action="store_true", help="the embedded pair on short clips")
    parser.add_argument("--labelled", nargs=2, type=Path, metavar=("CSV", "FOLDER"), help="for precision")
    parser.add_argument("--folds", default="", help="of the labelled clips: 1,2 (all)")
    parser.add_argument(
        "--labelled-models",
        default="demo-cnn14,demo-epanns",
        metavar="NAMES",
        help="names or files (the embedded pair)",
    )
    arguments = parser.parse_args()
    process.set_passive_wait_policy()  # before torch is imported, as pannscope itself does

    from benchmarks.plans import plans
    from benchmarks.precision import precision
    from core.benchmark import bench
    from core.errors import PannscopeError

    if not arguments.out.parent.is_dir():
        parser.error(f"the folder {arguments.out.parent} does not exist; make it first")
    try:
        results: dict[str, Any] = json.loads(arguments.out.read_text(encoding="utf-8"))
    except FileNotFoundError:
        results = {}
    except ValueError as error:
        parser.error(f"{arguments.out} is not a result of this program ({error}); give another file")
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:6.0f} s  {text}", file=sys.stderr, flush=True)

    def reporting(part: str) -> Callable[[str], None]:
        return lambda step: say(f"{part}: {step}")

    def words(text: str) -> tuple[str, ...]:
        return tuple(word.strip() for word in text.split(",") if word.strip())

    todo = [name for name in arguments.only if not (arguments.resume and name in results)]
    planned = plans(arguments.repeats, arguments.quick)
    try:
        for name in todo:
            if name in planned:
                results[name] = bench(planned[name], reporting(name))
            elif name == "precision" and arguments.labelled:
                csv, folder = arguments.labelled
                models = words(arguments.labelled_models)
                results[name] = precision(csv, folder, words(arguments.folds), models=models, on_progress=say)
            else:
                why = "needs --labelled" if name == "precision" else "needs more than one core"
                say(f"{name}: skipped, as it {why}")
                continue
            with atomic_write(arguments.out) as draft:
                draft.write_text(json.dumps(results, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    except PannscopeError as error:
        print(f"benchmarks/bench.py: {error}", file=sys.stderr)
        return 2
    say(f"{arguments.out}: {', '.join(results)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
