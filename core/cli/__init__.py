"""The command line: ``pannscope COMMAND``. See DESIGN's contract in ``docs/command-line.md`` for what scripts may rely on."""

from core.cli.main import app, main

__all__ = ["app", "main"]
