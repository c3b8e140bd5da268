"""Write what benchmarks/bench.py measured into docs/performance.md, with its pictures: python benchmarks/performance_page.py FILE.json"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))


def main() -> int:
    """Fill the sections that FILE has data for; the others stay."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, metavar="FILE.json")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "performance.md")
    parser.add_argument("--images", type=Path, help="a folder in the page's (images)")
    arguments = parser.parse_args()

    from benchmarks.page import write_page
    from core.errors import PannscopeError

    try:
        results = json.loads(arguments.file.read_text(encoding="utf-8"))
        filled = write_page(results, arguments.page, arguments.images or arguments.page.parent / "images")
    except (OSError, ValueError, PannscopeError) as error:
        print(f"benchmarks/performance_page.py: {error}", file=sys.stderr)
        return 2
    print(f"{arguments.page}: {', '.join(filled)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
