"""Uploads are counted before they are received: an ASGI middleware in front of Streamlit's upload route.

Streamlit bounds each file, not how many there are, and keeps them until their session ends.
"""

from __future__ import annotations

import asyncio
import re
import time
from contextlib import suppress
from typing import Any

from starlette.datastructures import Headers
from starlette.formparsers import MultiPartParser
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit import config, runtime

from dashboard.server.http import visitor
from dashboard.server.recordings import Arrival, Recordings, get_recordings

STALL_S = 20.0
"""An upload of which nothing arrives for so long is given up."""

SLOWEST = 16 * 1024
"""Bytes a second below which an upload is given up after its first minute, so that its room goes to others."""

_UPLOAD = re.compile(r"/_stcore/upload_file/([^/]+)/[^/]+")
_FRAMING = 2**20  # what the multipart form adds to the file, at most; Streamlit allows as much


class UploadGuard:
    """The middleware; see the module."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        # Uploads stay in memory, as the page says, rather than being written to a temporary file above 1 MB.
        MultiPartParser.spool_max_size = 2**40

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; an upload only where there is room for it."""
        path = _UPLOAD.search(scope["path"]) if scope["type"] == "http" and scope["method"] == "PUT" else None
        session = _session(path[1]) if path else None
        if path is None or session is None:  # which Streamlit refuses, without reading what it sends
            await self._app(scope, receive, send)
            return
        recordings = get_recordings()
        headers = Headers(scope=scope)
        owner = visitor(headers.get("cookie", "")) or path[1]
        admitted = recordings.admit(owner, path[1], _size(headers))
        if isinstance(admitted, Arrival):
            await self._receive(scope, receive, send, recordings, admitted)
        else:
            await _discard(receive)
            await PlainTextResponse(admitted, 413)(scope, receive, send)
            session.request_rerun(session._client_state)  # the page says why; nothing else would run it

    async def _receive(
        self, scope: Scope, receive: Receive, send: Send, recordings: Recordings, arrival: Arrival
    ) -> None:
        began, received = time.monotonic(), 0

        async def receive_in_time() -> Message:
            nonlocal received
            try:
                async with asyncio.timeout(STALL_S):
                    message = await receive()
            except TimeoutError:
                return {"type": "http.disconnect"}
            received += len(message.get("body", b""))
            elapsed = time.monotonic() - began
            if received > arrival.nbytes or (elapsed > 60 and received < SLOWEST * elapsed):
                return {"type": "http.disconnect"}
            return message

        try:
            await self._app(scope, receive_in_time, send)
        except ClientDisconnect:  # the visitor's, or ours
            await PlainTextResponse("The upload was interrupted.", 408)(scope, receive, send)
        finally:
            recordings.arrived(arrival)


async def _discard(receive: Receive) -> None:
    """Let an upload arrive and keep nothing of it: a browser that is still sending would see a broken connection, not the answer."""
    largest: int = config.get_option("server.maxUploadSize") * 2**20 + _FRAMING
    received, more = 0, True
    with suppress(TimeoutError):
        while more and received < largest:
            async with asyncio.timeout(STALL_S):
                message = await receive()
            received += len(message.get("body", b""))
            more = message.get("more_body", False)


def _session(session_id: str) -> Any | None:
    """Streamlit's session of that name; None where there is none that is connected."""
    info = runtime.get_instance()._session_mgr.get_active_session_info(session_id)
    return None if info is None else info.session


def _size(headers: Headers) -> int:
    """The most bytes that an upload can bring: its declared length, or, undeclared, the largest file."""
    declared = headers.get("content-length", "")
    largest: int = config.get_option("server.maxUploadSize") * 2**20 + _FRAMING
    return min(int(declared), largest) if declared.isascii() and declared.isdecimal() else largest
