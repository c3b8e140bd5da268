"""The command line: ``pannscope COMMAND``. What scripts may rely on stands in ``docs/command-line.md``."""

from core.cli.main import app, main

__all__ = ["app", "main"]
