"""The command line: ``pannscope COMMAND``. ``docs/command-line.md`` is what scripts may rely on."""

from core.cli.main import main

__all__ = ["main"]
