"""What stands in front of Streamlit, without a server: origins, closed routes, headers, the visitor's cookie, refused uploads."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send
from streamlit import config

from dashboard.server import http, upload_guard
from dashboard.server.http import COOKIE, FrontDoor, visitor
from dashboard.server.recordings import Limits, Recordings
from dashboard.server.upload_guard import UploadGuard

TOKEN = "a" * 31 + "-"


class Inner:
    """An application that reads what it is sent and answers with an HTML page."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []
        self.received = 0
        self.start: Message = {"status": 200, "headers": [(b"content-type", b"text/html")]}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
            return
        more = True
        while more:
            message = await receive()
            self.received += len(message.get("body", b""))
            more = message.get("more_body", False)
        await send({"type": "http.response.start", **self.start})
        await send({"type": "http.response.body", "body": b"page"})


def call(app: Any, scope: dict[str, Any], body: bytes = b"", **headers: str) -> list[Message]:
    """What an application sends for one request."""
    sent: list[Message] = []
    pieces = [{"type": "http.request", "body": body}]
    if scope["type"] == "websocket":
        pieces = [{"type": "websocket.connect"}]

    async def receive() -> Message:
        return pieces.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    asyncio.run(app({"path": "/", "method": "GET", "headers": raw, **scope}, receive, send))
    return sent


def headers_of(sent: list[Message]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in sent[0]["headers"]}


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket that is connected fails the test."""
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("something left this machine"))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_a, **_k: pytest.fail("something looked up a name"))


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Streamlit's options, as a test sets them."""
    options: dict[str, Any] = {
        "server.enableCORS": True,
        "server.corsAllowedOrigins": ["https://lab.example"],
        "browser.serverAddress": "pannscope.example",
        "server.maxUploadSize": 1,
    }
    monkeypatch.setattr(config, "get_option", options.__getitem__)
    return options


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "https://evil.example:8501",
        "null",
        "http://localhost.evil.example",
        "http://[",
        "",
    ],
)
def test_a_foreign_origin_is_refused_without_a_look_up(
    configured: dict[str, Any], no_network: None, origin: str
) -> None:
    inner = Inner()
    sent = call(FrontDoor(inner), {"type": "websocket"}, host="10.0.0.5:8501", origin=origin)
    assert [message["type"] for message in sent] == ["websocket.close"]
    assert inner.scopes == []


@pytest.mark.parametrize(
    ("origin", "seen"),
    [
        ("http://10.0.0.5:8501", "http://10.0.0.5:8501"),
        ("http://localhost:3000", "http://10.0.0.5:8501"),
        ("https://lab.example", "https://10.0.0.5:8501"),
        ("https://pannscope.example", "https://10.0.0.5:8501"),
    ],
)
def test_the_server_s_own_and_configured_origins_pass_as_its_own(
    configured: dict[str, Any], no_network: None, origin: str, seen: str
) -> None:
    inner = Inner()
    sent = call(FrontDoor(inner), {"type": "websocket"}, host="10.0.0.5:8501", origin=origin)
    assert sent == [{"type": "websocket.accept"}]
    assert dict(inner.scopes[0]["headers"])[b"origin"] == seen.encode()


def test_a_proxy_s_host_is_the_server_s_own(configured: dict[str, Any], no_network: None) -> None:
    """As where a proxy asks for http://app:8501 in place of the address that the visitor sees."""
    handshake = {"host": "app:8501", "x-forwarded-host": "pannscope.streamlit.app"}
    inner = Inner()
    own = call(FrontDoor(inner), {"type": "websocket"}, **handshake, origin="https://pannscope.streamlit.app")
    assert own == [{"type": "websocket.accept"}]
    assert dict(inner.scopes[0]["headers"])[b"origin"] == b"https://app:8501"
    for origin in ("https://other.streamlit.app", "https://pannscope.streamlit.app.evil.example", "null"):
        (sent,) = call(FrontDoor(Inner()), {"type": "websocket"}, **handshake, origin=origin)
        assert sent["type"] == "websocket.close"


def test_without_an_origin_or_protection_everyone_passes(configured: dict[str, Any]) -> None:
    assert call(FrontDoor(Inner()), {"type": "websocket"}, host="here") == [{"type": "websocket.accept"}]
    configured["server.enableCORS"] = False
    sent = call(FrontDoor(Inner()), {"type": "websocket"}, host="here", origin="http://evil.example")
    assert sent == [{"type": "websocket.accept"}]


@pytest.mark.parametrize("path", ["/_stcore/metrics", "/_stcore/metrics/", "/base/_stcore/metrics"])
def test_metrics_are_closed(path: str) -> None:
    inner = Inner()
    sent = call(FrontDoor(inner), {"type": "http", "path": path}, host="here")
    assert sent[0]["status"] == 404
    assert inner.scopes == []


def test_every_answer_has_the_headers() -> None:
    headers = headers_of(call(FrontDoor(Inner()), {"type": "http"}, host="here"))
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "SAMEORIGIN"
    assert headers["referrer-policy"] == "same-origin"
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["frame-ancestors"] == policy["default-src"] == "'self'"
    assert policy["object-src"] == "'none'"
    assert "unsafe" not in policy["script-src"]
    assert "http" not in headers["content-security-policy"]


@pytest.mark.parametrize(
    "asked",
    [{"host": "pannscope.streamlit.app"}, {"host": "app", "x-forwarded-host": "pannscope.streamlit.app"}],
)
def test_community_cloud_may_frame_its_own_apps(asked: dict[str, str]) -> None:
    headers = headers_of(call(FrontDoor(Inner()), {"type": "http"}, **asked))
    assert "x-frame-options" not in headers
    assert headers["content-security-policy"].endswith(
        "frame-ancestors 'self' https://*.streamlit.app https://share.streamlit.io"
    )


def test_a_page_names_its_visitor_once_and_so_that_nobody_can_guess_it() -> None:
    cookies = {
        headers_of(call(FrontDoor(Inner()), {"type": "http"}, host="here"))["set-cookie"] for _ in "12"
    }
    assert len(cookies) == 2
    for cookie in cookies:
        assert len(visitor(cookie.split(";")[0]) or "") == 32
        assert cookie.endswith("; Path=/; HttpOnly; SameSite=Lax")
    again = call(FrontDoor(Inner()), {"type": "http"}, host="here", cookie=f"x=1; {COOKIE}={TOKEN}")
    assert "set-cookie" not in headers_of(again)
    secure = headers_of(call(FrontDoor(Inner()), {"type": "http", "scheme": "https"}, host="here"))
    assert secure["set-cookie"].endswith("; Secure")


def test_a_page_that_the_browser_has_kept_names_its_visitor_too() -> None:
    """RFC 9110, 15.4.5: an answer that nothing was modified has no content type."""
    inner = Inner()
    inner.start = {"status": 304, "headers": []}
    for accept, named in (("text/html,*/*", True), ("*/*", False)):
        sent = call(FrontDoor(inner), {"type": "http"}, host="here", accept=accept)
        assert ("set-cookie" in headers_of(sent)) == named


@pytest.mark.parametrize(
    "cookies", ["", "a=b", f"{COOKIE}=short", f"{COOKIE}={'a' * 33}", f"{COOKIE}={'ä' * 32}"]
)
def test_a_cookie_that_names_nobody(cookies: str) -> None:
    assert visitor(cookies) is None


class Session:
    """A session of Streamlit's that notes that it was run again."""

    _client_state = "state"

    def __init__(self) -> None:
        self.reruns: list[str] = []

    def request_rerun(self, state: str) -> None:
        self.reruns.append(state)


def test_an_upload_without_room_is_refused_unread_and_the_page_says_why(
    configured: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    recordings, session, inner = Recordings(Limits(visitor=100, total=200)), Session(), Inner()
    monkeypatch.setattr(upload_guard, "get_recordings", lambda: recordings)
    monkeypatch.setattr(upload_guard, "_session", {"s": session}.get)
    upload = {"type": "http", "method": "PUT", "path": "/base/_stcore/upload_file/s/f"}
    fits = {"host": "here", "cookie": f"{COOKIE}={TOKEN}", "content-length": "100"}
    assert call(UploadGuard(inner), upload, bytes(100), **fits)[0]["status"] == 200
    assert (inner.received, recordings.nbytes) == (100, 0)  # which the page has now, or has thrown away
    sent = call(UploadGuard(inner), upload, bytes(101), **{**fits, "content-length": "101"})
    assert (sent[0]["status"], inner.received) == (413, 100)
    assert sent[1]["body"].decode() == recordings.refusal("s")
    assert session.reruns == ["state"]
    undeclared = call(UploadGuard(inner), upload, bytes(10), host="here")  # as much as a file may have
    assert undeclared[0]["status"] == 413


def test_an_upload_that_brings_more_than_it_declared_is_cut_off(
    configured: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = Inner()
    monkeypatch.setattr(upload_guard, "get_recordings", lambda: Recordings(Limits(visitor=100, total=200)))
    monkeypatch.setattr(upload_guard, "_session", lambda _name: Session())
    upload = {"type": "http", "method": "PUT", "path": "/_stcore/upload_file/s/f"}
    call(UploadGuard(inner), upload, bytes(1000), host="here", **{"content-length": "50"})
    assert inner.received == 0


def test_the_policy_names_the_scripts_of_streamlit_s_page() -> None:
    assert http._inline_scripts()
    assert all(each.startswith("'sha256-") for each in http._inline_scripts())


def test_more_sessions_than_the_memory_allows_are_refused_in_one_line() -> None:
    """The second of two sessions fits, a third does not, and a page says so; after the end of one there is room again."""

    async def visits() -> list[Any]:
        end, seen = asyncio.Event(), []

        async def session(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "websocket":
                await end.wait()
            else:
                await Inner()(scope, receive, send)

        door = FrontDoor(session, most_sessions=2)

        async def ask(kind: str, path: str, **headers: str) -> dict[str, Any]:
            sent: list[Message] = []

            async def receive() -> Message:
                return {"type": "http.request", "body": b""}

            async def send(message: Message) -> None:
                sent.append(dict(message))

            raw = [(name.encode(), value.encode()) for name, value in headers.items()]
            await door({"type": kind, "path": path, "method": "GET", "headers": raw}, receive, send)
            return sent[0] | {"body": sent[-1].get("body")} if sent else {}

        open_sessions = [asyncio.create_task(ask("websocket", "/_stcore/stream")) for _ in range(2)]
        await asyncio.sleep(0)
        seen.append(await ask("websocket", "/_stcore/stream"))
        seen.append(await ask("http", "/prune", accept="text/html,*/*"))
        seen.append(await ask("http", "/_stcore/health", accept="*/*"))
        end.set()
        await asyncio.gather(*open_sessions)
        seen.append(await ask("http", "/", accept="text/html"))
        return seen

    refused, page, health, later = asyncio.run(visits())
    assert (refused["type"], refused["code"]) == ("websocket.close", 1013)
    assert (page["status"], page["body"].decode()) == (503, http.FULL)
    assert health["status"] == later["status"] == 200
