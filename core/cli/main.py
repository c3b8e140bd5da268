"""Puts the commands together, and turns a user's mistakes into one line and exit code 2."""

from __future__ import annotations

import io
import logging
import sys
from typing import Annotated, NoReturn

import typer

from core import __version__, settings
from core.cli import (
    batch,
    bench,
    distillation,
    embedding,
    evaluation,
    export,
    models,
    profiling,
    pruning,
    sensitivity,
    serve,
    tagging,
    timeline,
    tradeoff,
    training,
)
from core.cli.output import complain, say
from core.errors import PannscopeError
from core.runtime import process

USER_ERROR = 2
"""Exit code of a user's mistake; 0 is success, 130 is Ctrl-C, anything else is a defect of ours."""

STOPPED = 130

_EXPECTED = {"int": "a whole number", "float": "a number"}

app = typer.Typer(
    name="pannscope",
    epilog="\n\n".join(f"{known.name}: {known.meaning} ({known.default})." for known in settings.VARIABLES),
    add_completion=False,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", help="Print Pannscope's version and exit.", is_eager=True)
    ] = False,
) -> None:
    """Hear, see and measure what filter pruning does to an audio tagger."""
    if version:
        say(f"pannscope {__version__}")
        raise typer.Exit


for group in (
    models,
    tagging,
    timeline,
    embedding,
    batch,
    profiling,
    sensitivity,
    pruning,
    training,
    distillation,
    evaluation,
    export,
    bench,
    tradeoff,
    serve,
):
    group.register(app)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit with its code."""
    process.set_passive_wait_policy()
    words = sys.argv[1:] if arguments is None else arguments
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s: %(message)s")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may not fit a terminal's encoding
    try:
        settings.check()
        code = app(args=words or ["--help"], prog_name="pannscope", standalone_mode=False)
    except PannscopeError as error:
        complain(str(error))
        code = USER_ERROR
    except typer.TyperException as error:
        complain(_usage_problem(error))
        code = USER_ERROR
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        complain(
            f"The system refused: {error.strerror or error}{where}. Check the free space and the permissions."
        )
        code = USER_ERROR
    except (typer.Abort, KeyboardInterrupt):
        code = STOPPED
    if code == STOPPED:
        complain("stopped.")
    sys.exit(code if isinstance(code, int) else 0)


def _usage_problem(error: typer.TyperException) -> str:
    """What is wrong with the words on the command line, and where to look."""
    context = getattr(error, "ctx", None)
    see = f"See: {context.command_path if context else 'pannscope'} --help"
    parameter = getattr(error, "param", None)
    problems = getattr(error.__cause__, "errors", None)  # of the wrong type: pydantic's description
    if parameter is not None and problems is not None:
        problem = problems()[0]
        expected = _EXPECTED.get(str(problem["type"]).partition("_")[0])
        if expected:
            name = max(parameter.opts, key=len)
            return f"{name} takes {expected}; got {str(problem['input'])!r}. {see}"
    message = error.format_message().strip()
    return f"{message if message.endswith(('?', '.')) else message + '.'} {see}"
