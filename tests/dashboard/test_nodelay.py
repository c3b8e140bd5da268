"""Nagle's algorithm is off on the server's connections, also where the server binds its socket itself."""

from __future__ import annotations

import asyncio
import socket

import pytest

from dashboard import app
from dashboard.server import nodelay


async def options(*, prepare: bool) -> list[int]:
    """TCP_NODELAY of a connection to a socket that is bound as Streamlit binds its own."""
    if prepare:
        nodelay.send_at_once()
    bound = socket.socket(family=socket.AF_INET)
    bound.bind(("127.0.0.1", 0))
    found: list[int] = []

    def on_connection(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found.append(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    async with await asyncio.start_server(on_connection, sock=bound):
        reader, writer = await asyncio.open_connection(*bound.getsockname())
        await reader.read()
        writer.close()
    return found


@pytest.mark.skipif(not hasattr(socket, "TCP_NODELAY"), reason="this system has no such option")
def test_connections_have_the_option() -> None:
    assert asyncio.run(options(prepare=False)) == [0]  # why it is needed
    assert asyncio.run(options(prepare=True)) == [1]


def test_the_server_starts_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    called = []
    monkeypatch.setattr(app.nodelay, "send_at_once", lambda: called.append(True))
    monkeypatch.setattr(app.warm_up, "start", lambda: None)
    monkeypatch.setattr(app, "Shutdown", lambda: None)

    async def start() -> None:
        await app.lifespan(app.app).__aenter__()

    asyncio.run(start())
    assert called == [True]
