"""The program ``pannscope``, also as ``python -m pannscope``."""

from __future__ import annotations

import sys
from typing import NoReturn

from pannscope import foreign_core


def main() -> NoReturn:
    """Run the command line, unless another project's ``core`` is in its way."""
    if problem := foreign_core():
        print(f"pannscope: {problem}", file=sys.stderr)
        sys.exit(2)
    try:
        from core.cli import main as run

        run()
    except KeyboardInterrupt:  # while the modules were imported; later ones are the command line's own
        sys.exit(130)


if __name__ == "__main__":
    main()
