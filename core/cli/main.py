"""Puts the commands together and turns a user's mistakes into one line and exit code 2."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

import typer

from core.cli import models, pruning, tagging, training
from core.errors import PannscopeError

USER_ERROR = 2
"""Exit code of a user's mistake; 0 is success, anything else is a defect of ours."""

# typer carries its own copy of click and exports only this leaf of its errors; their root is two
# classes up.
_ClickError: type[Exception] = typer.BadParameter.__mro__[2]

app = typer.Typer(
    name="pannscope",
    help="Hear, see and measure what filter pruning does to an audio tagger.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for group in (models, tagging, pruning, training):
    group.register(app)


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line and exit with its code."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s: %(message)s")
    try:
        code = app(args=arguments, standalone_mode=False)
    except PannscopeError as error:
        sys.exit(_complain(str(error)))
    except _ClickError as error:
        said = error.format_message().rstrip(".")  # type: ignore[attr-defined]
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "pannscope"
        sys.exit(_complain(f"{said}. See: {command} --help"))
    except (typer.Abort, KeyboardInterrupt):
        print("pannscope: stopped.", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        # The reader (head, less) has left; devnull keeps Python from complaining about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    sys.exit(code if isinstance(code, int) else 0)


def _complain(message: str) -> int:
    print("pannscope: " + " ".join(message.split()), file=sys.stderr)
    return USER_ERROR
