"""Measure what docs/performance.md says: python benchmarks/bench.py --out FILE.json

Run it on a machine that does nothing else: it takes about ten minutes on two cores. What has been measured is kept after every part, and
--resume goes on from there. Then: python benchmarks/performance_page.py FILE.json
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
    """Measure the parts that were asked for, all by default, and keep the others that FILE has."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.json")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART", help=f"of {PARTS}")
    parser.add_argument("--resume", action="store_true", help="leave out the parts that FILE has already")
    parser.add_argument("--repeats", type=int, default=15, help="passes of the first part that count (15)")
    parser.add_argument("--quick", action="store_true", help="the embedded pair on short clips")
    parser.add_argument("--labelled", nargs=2, type=Path, metavar=("CSV", "FOLDER"), help="for precision")
    parser.add_argument("--folds", default="", help="of the labelled clips: 1,2 (all)")
    parser.add_argument(
        "--labelled-models",
        default="demo-cnn14,demo-epanns",
        metavar="NAMES",
        help="names or files, {fold} for one a fold (the embedded pair)",
    )
    asked = parser.parse_args()
    process.set_passive_wait_policy()  # before torch is imported, as pannscope itself does

    from benchmarks.plans import plans
    from benchmarks.precision import precision
    from core.benchmark import bench
    from core.errors import PannscopeError

    if not asked.out.parent.is_dir():
        parser.error(f"the folder {asked.out.parent} does not exist; make it first")
    try:
        found: dict[str, Any] = json.loads(asked.out.read_text(encoding="utf-8"))
    except FileNotFoundError:
        found = {}
    except ValueError as error:
        parser.error(f"{asked.out} is no result of this program ({error}); give another file")
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:6.0f} s  {text}", file=sys.stderr, flush=True)

    def telling(part: str) -> Callable[[str], None]:
        return lambda doing: say(f"{part}: {doing}")

    def words(text: str) -> tuple[str, ...]:
        return tuple(word.strip() for word in text.split(",") if word.strip())

    todo = [name for name in asked.only if not (asked.resume and name in found)]
    planned = plans(asked.repeats, asked.quick)
    try:
        for name in todo:
            if name in planned:
                found[name] = bench(planned[name], telling(name))
            elif name == "precision" and asked.labelled:
                csv, folder = asked.labelled
                models = words(asked.labelled_models)
                found[name] = precision(csv, folder, words(asked.folds), models=models, on_progress=say)
            else:
                why = "needs --labelled" if name == "precision" else "needs more than one core"
                say(f"{name}: left out, as it {why}")
                continue
            with atomic_write(asked.out) as draft:
                draft.write_text(json.dumps(found, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    except PannscopeError as error:
        print(f"benchmarks/bench.py: {error}", file=sys.stderr)
        return 2
    say(f"{asked.out}: {', '.join(found)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
