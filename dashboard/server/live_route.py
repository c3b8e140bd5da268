"""The way of a live stream's sound: the page posts pieces of it, and each answer has what the networks make of it.

An ASGI middleware in front of Streamlit, on its port, as uploads are: it works wherever the page does. A stream's token is part of the
address; only the session that opened it has it, and where the browser has a visitor's cookie it must be that visitor's.
"""

from __future__ import annotations

import asyncio
import re
import time
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import numpy as np
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from dashboard.server.http import visitor

if TYPE_CHECKING:
    from dashboard.server.live_stream import LiveStream
    from dashboard.server.live_streams import LiveStreams

RATES = range(8_000, 192_001)

MOST_BYTES = 2 * 2 * 192_000
"""Of one piece: two seconds, which the browser keeps while the network is slow, at the highest rate."""

_RECEIVE_S = 10.0
_WAIT_S, _POLL_S = 0.25, 0.01
"""How long an answer waits for the results of its piece: until the next piece is there."""

_BUSY = "As many visitors are live as this server has room for: trying again every few seconds."
_PATH = re.compile(r"/_stcore/live/([\w-]{32})", re.ASCII)


class LiveRoute:
    """The middleware; see the module."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a piece of sound; pass everything else on."""
        path = _PATH.search(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if path is None:
            await self._app(scope, receive, send)
            return
        answer = await _answer(path[1], scope, receive)
        if answer is not None:
            await answer(scope, receive, send)


async def _answer(token: str, scope: Scope, receive: Receive) -> JSONResponse | None:
    """What is sent back; None where the browser has gone."""
    streams = await asyncio.to_thread(_streams)
    stream = streams.find(token)
    cookie = visitor(Headers(scope=scope).get("cookie", ""))
    if stream is None or stream.owner not in (None, cookie):
        return _refusal(404, "This live stream has ended.")
    numbers = _numbers(scope["query_string"])
    body = await _body(receive)
    if body is None:
        return None
    if numbers is None or len(body) % 2 or len(body) > MOST_BYTES:
        return _refusal(400, "A piece of sound is int16, two seconds at most, with its start and rate.")
    start, rate, seen = numbers
    if not streams.push(stream, start, rate, np.frombuffer(body, "<i2")):
        return _refusal(503, _BUSY)
    await _computed(stream, start + len(body) // 2)
    return JSONResponse(stream.answer(seen), headers={"Cache-Control": "no-store"})


def _streams() -> LiveStreams:
    """The server's; after a restart a page may ask before torch is imported, which the event loop must not wait for."""
    from dashboard.server.server import get_server

    return get_server().live


async def _computed(stream: LiveStream, position: int) -> None:
    """Wait for results of this piece, though not longer than until the next one can come."""
    deadline = time.monotonic() + _WAIT_S
    while not stream.computed(position) and time.monotonic() < deadline:
        await asyncio.sleep(_POLL_S)


async def _body(receive: Receive) -> bytes | None:
    """The request's body, as far as it is looked at; None where it does not arrive."""
    body, more = b"", True
    try:
        async with asyncio.timeout(_RECEIVE_S):
            while more and len(body) <= MOST_BYTES:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return None
                body += message.get("body", b"")
                more = message.get("more_body", False)
    except TimeoutError:
        return None
    return body


def _numbers(query: bytes) -> tuple[int, int, int] | None:
    """Start, rate and the number of events that the page has; None where they cannot be."""
    values = parse_qs(query.decode("ascii", "replace"))
    texts = [values.get(name, [""])[0] for name in ("start", "rate", "seen")]
    if not all(re.fullmatch(r"\d{1,15}", text, re.ASCII) for text in texts):
        return None
    start, rate, seen = map(int, texts)
    return (start, rate, seen) if rate in RATES else None


def _refusal(status: int, message: str) -> JSONResponse:
    return JSONResponse({"message": message}, status)
