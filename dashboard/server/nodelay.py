"""What the server sends leaves at once.

Streamlit binds the server's socket itself, and asyncio turns Nagle's algorithm off only for sockets that name their protocol, which such a
one does not (issue 3149 of uvicorn). On Linux small messages then wait for the acknowledgement of those before them, which a receiver may
delay by 40 ms: Python's HTTP client got a small file in 43 ms over one connection, and in 2 ms with this. Chromium on the same machine
acknowledges at once, and is as fast without.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any


def send_at_once() -> None:
    """To be called before the running event loop starts to serve: a socket that it is given hands the option on to its connections."""
    loop = asyncio.get_running_loop()
    create_server = loop.create_server

    async def with_option(*arguments: Any, sock: socket.socket | None = None, **more: Any) -> asyncio.Server:
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return await create_server(*arguments, sock=sock, **more)

    with contextlib.suppress(AttributeError):  # uvloop takes no attributes, and sets the option itself
        loop.create_server = with_option  # type: ignore[method-assign]
