"""A visitor without a browser: opens a page of a running Pannscope, uploads a recording, and fetches what the audio player would.

Speaks Streamlit's own protocol, a websocket with protobuf messages, so that everything on the server's side is the real thing: the
upload, the script's thread, the session's state and the media files.
"""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlencode

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.typing import Subprotocol

_PATIENCE_S = 600.0
_QUIET_S = 1.5
"""Without a message for so long after a run has ended, no further run follows it."""


@dataclass
class Shown:
    """What a run put on the page, as far as it matters here."""

    headings: list[str] = field(default_factory=list)
    alerts: list[str] = field(default_factory=list)
    uploader: str = ""
    buttons: dict[str, str] = field(default_factory=dict)
    player: str = ""
    charts: int = 0
    components: list[str] = field(default_factory=list)
    downloads: list[str] = field(default_factory=list)
    seconds: float = 0.0
    """From the request to the end of the last run."""


class Visitor:
    """One session with a server at ``host:port``, on the page for the models ``baseline`` and ``candidate``."""

    def __init__(self, address: str, baseline: str, candidate: str) -> None:
        self._address = address
        self._query = urlencode({"baseline": baseline, "candidate": candidate})
        self._cookies = SimpleCookie()
        for path in ("/", "/_stcore/health"):
            with urllib.request.urlopen(f"http://{address}{path}", timeout=60) as answer:
                for cookie in answer.headers.get_all("Set-Cookie", []):
                    self._cookies.load(cookie)
        self._socket = connect(
            f"ws://{address}/_stcore/stream",
            additional_headers={"Cookie": self._headers["Cookie"]},
            subprotocols=[Subprotocol("streamlit")],
            max_size=None,
            open_timeout=60,
        )
        self._session = self._page = ""

    def open_page(self, name: str = "") -> Shown:
        """Run a page as it opens, the front page or another."""
        self._page = name
        message = BackMsg()
        message.rerun_script.query_string = self._query
        message.rerun_script.page_name = name
        return self._run(message)

    def look(self) -> Shown:
        """Run the page once more, without waiting for what may run after it."""
        message = BackMsg()
        message.rerun_script.query_string = self._query
        message.rerun_script.page_name = self._page
        return self._run(message, quiet_s=0.0)

    def upload(self, uploader: str, name: str, data: bytes) -> Shown:
        """Upload a file to the widget ``uploader``, and run the page on it."""
        urls = self.upload_urls(name)
        self._put(urls.upload_url, name, data)
        message = BackMsg()
        message.rerun_script.query_string = self._query
        state = message.rerun_script.widget_states.widgets.add()
        state.id = uploader
        uploaded = state.file_uploader_state_value.uploaded_file_info.add()
        uploaded.file_id, uploaded.name, uploaded.size = urls.file_id, name, len(data)
        uploaded.file_urls.CopyFrom(urls)
        return self._run(message)

    def offer(self, url: str, name: str, data: bytes) -> int:
        """Send a file that no widget asked for; the status that the server answers with, 0 where it hangs up first."""
        try:
            self._put(url, name, data)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0
        return 204

    def begin_upload(self, nbytes: int) -> None:
        """Announce an upload, send its beginning, and never the rest."""
        url = self.upload_urls("slow.wav").upload_url
        self._slow = http.client.HTTPConnection(self._address, timeout=60)
        self._slow.putrequest("PUT", url)
        self._slow.putheader("Content-Type", "multipart/form-data; boundary=x")
        self._slow.putheader("Content-Length", str(nbytes))
        for name, value in self._headers.items():
            self._slow.putheader(name, value)
        self._slow.endheaders(b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n')

    def press(self, button: str) -> None:
        """Press a button, without waiting for what it does."""
        message = BackMsg()
        message.rerun_script.query_string = self._query
        message.rerun_script.page_name = self._page
        state = message.rerun_script.widget_states.widgets.add()
        state.id, state.trigger_value = button, True
        self._socket.send(message.SerializeToString())

    def play(self, player: str) -> int:
        """Fetch a player's sound as browsers do, with an open range; bytes."""
        request = urllib.request.Request(f"http://{self._address}{player}", headers={"Range": "bytes=0-"})
        read = 0
        with urllib.request.urlopen(request, timeout=60) as answer:
            while piece := answer.read(1 << 16):
                read += len(piece)
        return read

    def close(self) -> None:
        """Close the session."""
        self._socket.close()

    def _run(self, message: BackMsg, quiet_s: float = _QUIET_S) -> Shown:
        began = time.perf_counter()
        self._socket.send(message.SerializeToString())
        shown, ended = Shown(), False
        while True:
            for each in self._messages(quiet_s if ended else _PATIENCE_S):
                kind = each.WhichOneof("type")
                if kind == "new_session":
                    shown, ended = Shown(), False
                    self._session = each.new_session.initialize.session_id
                    break
                if kind == "script_finished":
                    ended, shown.seconds = True, time.perf_counter() - began
                    break
                if kind == "delta" and each.delta.WhichOneof("type") == "new_element":
                    _note(shown, each.delta.new_element)
            else:
                if ended:
                    return shown
                raise TimeoutError("the page was not finished in time")

    def _messages(self, patience_s: float) -> Iterator[Any]:
        while True:
            try:
                message = ForwardMsg()
                message.ParseFromString(self._socket.recv(timeout=patience_s))
            except TimeoutError:
                return
            except ConnectionClosed as error:
                raise RuntimeError(f"the server closed the session: {error}") from error
            yield message

    def upload_urls(self, name: str) -> Any:
        """The addresses for a file that is going to be sent."""
        request = BackMsg()
        request.file_urls_request.request_id = uuid.uuid4().hex
        request.file_urls_request.file_names.append(name)
        request.file_urls_request.session_id = self._session
        self._socket.send(request.SerializeToString())
        return next(
            each.file_urls_response.file_urls[0]
            for each in self._messages(_PATIENCE_S)
            if each.WhichOneof("type") == "file_urls_response"
        )

    @property
    def _headers(self) -> dict[str, str]:
        cookie = "; ".join(f"{name}={morsel.value}" for name, morsel in self._cookies.items())
        return {"Cookie": cookie, "X-Xsrftoken": self._cookies["_streamlit_xsrf"].value}

    def _put(self, url: str, name: str, data: bytes) -> None:
        boundary = uuid.uuid4().hex
        disposition = f'form-data; name="file"; filename={json.dumps(name)}'
        head = f"--{boundary}\r\nContent-Disposition: {disposition}\r\nContent-Type: audio/wav\r\n\r\n"
        body = head.encode() + data + f"\r\n--{boundary}--\r\n".encode()
        address = url if url.startswith("http") else f"http://{self._address}{url}"
        request = urllib.request.Request(address, body, self._headers, method="PUT")
        request.add_header("Content-Type", f"multipart/form-data; boundary={boundary}")
        with urllib.request.urlopen(request, timeout=120) as answer:
            assert answer.status == 204, answer.status


def _note(shown: Shown, element: Any) -> None:
    kind = element.WhichOneof("type")
    if kind == "heading":
        shown.headings.append(element.heading.body)
    elif kind == "alert":
        shown.alerts.append(element.alert.body)
    elif kind == "file_uploader":
        shown.uploader = element.file_uploader.id
    elif kind == "button":
        shown.buttons[element.button.label] = element.button.id
    elif kind == "audio":
        shown.player = element.audio.url
    elif kind == "plotly_chart":
        shown.charts += 1
    elif kind == "bidi_component":
        shown.components.append(element.bidi_component.component_name)
    elif kind == "download_button":
        shown.downloads.append(element.download_button.label)
