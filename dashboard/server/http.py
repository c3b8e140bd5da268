"""What stands between the network and Streamlit: refused origins, closed routes, security headers, and a cookie that names a visitor.

All of it is an ASGI middleware of ``dashboard/app.py``, so that it holds however the app is started.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from functools import lru_cache
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from urllib.parse import urlsplit

import streamlit
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit import config

from core.runtime.machine import total_memory

COOKIE = "pannscope_visitor"
"""Names a browser to this server, so that its recordings outlive a reload. Nobody else can guess it, and no script can read it."""

FULL = "This server has as many visitors as its memory allows just now. Try again in a minute.\n"

_TOKEN = re.compile(r"[\w-]{32}", re.ASCII)  # token_urlsafe(24)

_CLOSED = ("/_stcore/metrics", "/_stcore/script-health-check")
"""Figures of the process, and a run of the page for anyone who asks."""

_LOCAL = (
    "localhost",
    "127.0.0.1",
    "0.0.0.0",
)  # what Streamlit allows in any case; a development server runs there

_FORWARDED = "x-forwarded-host"
"""The host that a proxy was asked for, where it asks this server for another one."""

_CLOUD = ".streamlit.app"
_CLOUD_FRAMES = "https://*.streamlit.app https://share.streamlit.io"
"""Streamlit Community Cloud shows an app in a frame of its own page."""

# Streamlit's page styles its elements from scripts (style 'unsafe-inline') and loads our inline components, the theme watcher
# and the timeline, from a blob. Charts are drawn without eval; players and downloads come from this server, plotly's pictures and icons as data.
_POLICY = {
    "default-src": "'self'",
    "style-src": "'self' 'unsafe-inline'",
    "img-src": "'self' data: blob:",
    "media-src": "'self' data: blob:",
    "font-src": "'self' data:",
    "connect-src": "'self' data: blob:",
    "worker-src": "'self' blob:",
    "frame-src": "'self'",
    "object-src": "'none'",
    "base-uri": "'self'",
    "form-action": "'self'",
}
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(self), payment=(), usb=()",
}


class FrontDoor:
    """The middleware; see the module.

    Streamlit compares a foreign Origin with this machine's own addresses, for which it asks an outside server, in the event loop and
    anew for every handshake. Here it is compared with what is configured alone, before Streamlit sees it.
    """

    def __init__(self, app: ASGIApp, most_sessions: int | None = None) -> None:
        self._app = app
        self._most = most_sessions or sessions_of_memory(total_memory())
        self._sessions = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, with headers added to its answer, or refuse it."""
        if scope["type"] == "websocket":
            allowed = _with_allowed_origin(scope)
            if allowed is None:
                await receive()
                await send({"type": "websocket.close", "code": 1008, "reason": "Origin not allowed"})
            elif self._sessions >= self._most:
                await receive()
                await send({"type": "websocket.close", "code": 1013, "reason": FULL.strip()})
            else:
                self._sessions += 1
                try:
                    await self._app(allowed, receive, send)
                finally:
                    self._sessions -= 1
        elif scope["type"] == "http":
            answer: ASGIApp = self._app
            if _is_closed(scope["path"]):
                answer = PlainTextResponse("Not Found", 404)
            elif self._sessions >= self._most and _is_page(scope):
                answer = PlainTextResponse(FULL, 503, {"Retry-After": "60"})
            await answer(scope, receive, _with_headers(scope, send))
        else:
            await self._app(scope, receive, send)


def sessions_of_memory(memory: int | None) -> int:
    """Sessions at a time: one for each 10 MB of memory, three times what one takes, but 50 at least and 2,000 at most.

    >>> sessions_of_memory(10**9), sessions_of_memory(None)
    (100, 2000)
    """
    return 2_000 if memory is None else min(max(memory // 10_000_000, 50), 2_000)


def visitor(cookies: str) -> str | None:
    """The visitor that a Cookie header names; None where it names none."""
    try:
        morsel = SimpleCookie(cookies).get(COOKIE)
    except CookieError:
        return None
    return morsel.value if morsel is not None and _TOKEN.fullmatch(morsel.value) else None


def _is_closed(path: str) -> bool:
    return path.rstrip("/").endswith(_CLOSED)


def _is_page(scope: Scope) -> bool:
    """Whether a browser asks for a page, rather than for something on one."""
    return scope["method"] == "GET" and "text/html" in Headers(scope=scope).get("accept", "")


def _with_allowed_origin(scope: Scope) -> Scope | None:
    """The handshake as Streamlit is to see it, or None where its Origin is foreign and not configured.

    Configured is what the options name, and the host that a proxy was asked for: no page can make a browser send that header. Such an
    Origin is replaced by the server's own: Streamlit would look it up outside before it reads the configuration.
    """
    headers = Headers(scope=scope)
    origin, host = headers.get("origin"), headers.get("host", "")
    if origin is None or not config.get_option("server.enableCORS"):
        return scope
    try:
        parts = urlsplit(origin)
    except ValueError:
        return None
    if parts.netloc == host:
        return scope
    known = {urlsplit(each).hostname or each for each in config.get_option("server.corsAllowedOrigins")}
    known |= {*_LOCAL, config.get_option("browser.serverAddress")}
    if not parts.hostname or (parts.hostname not in known and parts.netloc != headers.get(_FORWARDED)):
        return None
    replaced = MutableHeaders(raw=list(scope["headers"]))
    replaced["origin"] = f"{parts.scheme}://{host}"
    return {**scope, "headers": replaced.raw}


def _with_headers(scope: Scope, send: Send) -> Send:
    request = Headers(scope=scope)
    on_cloud = request.get(_FORWARDED, request.get("host", "")).endswith(_CLOUD)
    frames = f"'self' {_CLOUD_FRAMES}" if on_cloud else "'self'"
    scripts = " ".join(("'self'", "blob:", *_inline_scripts()))
    policy = {**_POLICY, "script-src": scripts, "frame-ancestors": frames}

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.update(_HEADERS)
            headers["Content-Security-Policy"] = "; ".join(
                f"{name} {value}" for name, value in policy.items()
            )
            if not on_cloud:
                headers["X-Frame-Options"] = "SAMEORIGIN"  # for browsers that do not know frame-ancestors
            # A page that the browser has kept is confirmed without a type.
            kept = message["status"] == 304 and "text/html" in request.get("accept", "")
            page = kept or headers.get("content-type", "").startswith("text/html")
            if page and not visitor(request.get("cookie", "")):
                secure = "; Secure" if scope.get("scheme") == "https" else ""
                headers.append(
                    "Set-Cookie",
                    f"{COOKIE}={secrets.token_urlsafe(24)}; Path=/; HttpOnly; SameSite=Lax{secure}",
                )
        await send(message)

    return send_with_headers


@lru_cache(maxsize=1)
def _inline_scripts() -> tuple[str, ...]:
    """The scripts inside Streamlit's page, as a policy names them: by their hashes, so that no other inline script runs."""
    page = Path(streamlit.__file__).with_name("static") / "index.html"
    scripts = re.findall(rb"<script>(.*?)</script>", page.read_bytes(), re.DOTALL)
    return tuple(
        f"'sha256-{base64.b64encode(hashlib.sha256(script).digest()).decode()}'" for script in scripts
    )
