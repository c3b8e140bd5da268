"""``serve``: the dashboard in this process. The only module of ``core`` that knows the dashboard, and that only when it runs."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path
from typing import Annotated

import typer

WILDCARDS = ("", "0.0.0.0", "::")
"""Addresses that mean every interface of this machine."""


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command("serve", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(
        serve_command
    )


def serve_command(
    context: typer.Context,
    port: Annotated[
        int | None,
        typer.Option(
            "--port",
            "--server.port",
            metavar="N",
            min=1,
            max=65535,
            help="Port; by default 8501 or the next free one.",
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            "--address",
            "--server.address",
            metavar="HOST",
            help="Listen on this address only, as 127.0.0.1; by default on every one.",
        ),
    ] = None,
) -> None:
    """Serve the dashboard to a browser, until Ctrl-C.

    Other options are passed on to streamlit, as --server.headless=true.
    """
    if port is not None:
        check_port(address or os.environ.get("STREAMLIT_SERVER_ADDRESS", ""), port)
    run_dashboard(streamlit_options(port, address, context.args))


def check_port(address: str, port: int) -> None:
    """Raise ``typer.BadParameter`` where no server can listen on that port."""
    try:
        socket.create_server(
            (address, port), family=socket.AF_INET6 if ":" in address else socket.AF_INET
        ).close()
    except OSError as error:
        reason = (error.strerror or str(error)).partition(" (")[0]  # socket appends the address
        where = f"port {port}" if address in WILDCARDS else f"{address}, port {port}"
        raise typer.BadParameter(
            f"cannot listen on {where}: {reason}; choose another one", param_hint="--port"
        ) from None


def streamlit_options(port: int | None, address: str | None, others: list[str]) -> list[str]:
    """The options for ``streamlit run``; the user's own come last, so that they win.

    ``browser.serverAddress`` is the address that is printed and opened. Unset, Streamlit asks an outside server for this machine's.
    """
    options = []
    if "STREAMLIT_BROWSER_SERVER_ADDRESS" not in os.environ:
        options.append(
            f"--browser.serverAddress={'localhost' if address is None or address in WILDCARDS else address}"
        )
    if port is not None:
        options.append(f"--server.port={port}")
    if address is not None:
        options.append(f"--server.address={address}")
    return options + others


def run_dashboard(options: list[str]) -> None:
    """Start Streamlit in this process; dashboard/app.py loads what the first visitor needs as soon as the server runs."""
    from streamlit.web import cli

    import dashboard
    from dashboard.server import shutdown

    for number in shutdown.SIGNALS:  # until the server has its own, and once it has closed
        signal.signal(number, lambda *_: shutdown.end_now())
    page = Path(dashboard.__file__).with_name("app.py")
    try:
        cli.main(["run", str(page), *options], prog_name="streamlit", standalone_mode=False)
    except cli.click.ClickException as error:  # streamlit's click is not the copy that typer carries
        raise typer.BadParameter(error.format_message().rstrip("."), param_hint="streamlit") from None
