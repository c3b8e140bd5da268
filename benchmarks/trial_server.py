"""A server for the trials: started in one of the ways that there are, watched through /proc, its network calls recorded."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

_STREAMLIT = [sys.executable, "-m", "streamlit", "run", "dashboard/app.py"]
STARTS: dict[str, list[str]] = {
    "pannscope serve": [sys.executable, "-m", "pannscope", "serve"],
    "streamlit run dashboard/app.py": _STREAMLIT,
    "scripts/serve": ["bash", "scripts/serve"],
}
"""The ways of starting, as command lines."""

# Python imports this file before anything else: every connection and look-up of a name beyond this machine is written down, and the
# memory there is may be set.
_HOOK = """
import sys
def note(event, arguments):
    if event in ("socket.connect", "socket.sendto") and len(arguments) > 1 and isinstance(arguments[1], tuple):
        where = str(arguments[1][0])
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        where = str(arguments[0])
    else:
        return
    if not where.startswith("127.") and where not in ("localhost", "::1", "", "None", "0.0.0.0", "::"):
        with open({log!r}, "a") as file:
            file.write(event + " " + where + "\\n")
sys.addaudithook(note)
memory = {memory!r}
if memory:
    from pathlib import Path
    read = Path.read_text
    def limited(path, *arguments, **named):
        if str(path) == "/proc/meminfo":
            resident = int(read(Path("/proc/self/statm")).split()[1]) * 4096
            return f"MemTotal: {{memory // 1024}} kB\\nMemAvailable: {{max(0, memory - resident) // 1024}} kB\\n"
        return read(path, *arguments, **named)
    Path.read_text = limited
"""

_WRONG = re.compile(r"Traceback|terminate called|Fatal Python error|Aborted|Segmentation|core dumped")
_KILOBYTES = re.compile(r"^(Rss|Private_\w+):\s+(\d+) kB$", re.MULTILINE)
_START_S = 120.0


@dataclass
class Watched:
    """What was seen of a server: the most that was resident, in MB of 1,000,000 bytes, and its slowest answer."""

    peak_mb: float = 0.0
    slowest_s: float = 0.0


class TrialServer:
    """The app in a process of its own, with empty folders for what it downloads and compiles.

    Parameters
    ----------
    start : a key of ``STARTS``.
    memory : bytes that it takes for the machine's memory; 0 for the machine's own.
    proxy : address of the HTTP proxy that it is to use.
    mirror : address of the mirror that it downloads the published pair from, as soon as it runs.
    """

    def __init__(self, start: str, *, memory: int = 0, proxy: str = "", mirror: str = "") -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="pannscope-trial-", ignore_cleanup_errors=True)
        self._path = Path(self._folder.name)
        (self._path / "hook").mkdir()
        hook = _HOOK.format(log=str(self._path / "outside"), memory=memory)
        (self._path / "hook" / "sitecustomize.py").write_text(hook)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.address = f"127.0.0.1:{port}"
        names = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")
        environment = {name: value for name, value in os.environ.items() if name not in names}
        environment |= {name: proxy for name in names if proxy}
        environment |= {
            "PYTHONPATH": f"{self._path / 'hook'}{os.pathsep}{ROOT}",
            "PANNSCOPE_WEIGHTS": str(self._path / "weights"),
            "PANNSCOPE_CACHE": str(self._path / "cache"),
            "PANNSCOPE_AUTO_FETCH": "1" if mirror else "0",
            "PANNSCOPE_ZENODO": mirror,
        }
        words = [*STARTS[start], f"--server.port={port}", "--server.headless=true"]
        self._log = (self._path / "log").open("w")
        self.process = subprocess.Popen(
            words, cwd=ROOT, env=environment, stdout=self._log, stderr=self._log, start_new_session=True
        )

    def __enter__(self) -> TrialServer:
        deadline = time.monotonic() + _START_S
        while True:
            try:
                assert self.get("/_stcore/health") == "ok"
                return self
            except (OSError, http.client.HTTPException):
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"The app did not start:\n{self.log()}") from None
                time.sleep(0.2)

    def __exit__(self, *_error: object) -> None:
        self.process.kill()
        self.process.wait()
        self._log.close()
        self._folder.cleanup()

    def get(self, path: str) -> str:
        """The answer to a request."""
        connection = http.client.HTTPConnection(self.address, timeout=20)
        try:
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def handshake(self, origin: str) -> int:
        """The status that a websocket handshake from a page of ``origin`` is answered with."""
        connection = http.client.HTTPConnection(self.address, timeout=20)
        upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
        key = {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Origin": origin}
        try:
            connection.request("GET", "/_stcore/stream", headers=upgrade | key)
            return connection.getresponse().status
        finally:
            connection.close()

    def signal(self, number: signal.Signals) -> int:
        """Send a signal; the exit code, or -9 where the process had to be killed after 20 s."""
        self.process.send_signal(number)
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def resident_mb(self) -> float:
        """Resident now, in MB of 1,000,000 bytes; of the decoder's workers what they do not share with the server."""
        pid = self.process.pid
        memory = _KILOBYTES.findall(Path(f"/proc/{pid}/smaps_rollup").read_text("ascii"))
        resident = sum(int(size) for name, size in memory if name == "Rss")
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                memory = _KILOBYTES.findall(Path(f"/proc/{child}/smaps_rollup").read_text("ascii"))
                resident += sum(int(size) for name, size in memory if name.startswith("Private_"))
        return resident * 1024 / 1e6

    @contextmanager
    def watched(self) -> Iterator[Watched]:
        """The most that is resident inside the ``with`` block, and the slowest answer, looked at several times a second."""
        seen, ended = Watched(), threading.Event()

        def watch() -> None:
            while not ended.wait(0.1):
                try:
                    seen.peak_mb = max(seen.peak_mb, self.resident_mb())
                    began = time.perf_counter()
                    self.get("/_stcore/health")
                    seen.slowest_s = max(seen.slowest_s, time.perf_counter() - began)
                except OSError:  # a child that ended meanwhile
                    continue

        threading.Thread(target=watch, daemon=True).start()
        try:
            yield seen
        finally:
            ended.set()

    def outside(self) -> list[str]:
        """Connections and look-ups beyond this machine."""
        log = self._path / "outside"
        return log.read_text().splitlines() if log.exists() else []

    def drafts(self) -> list[str]:
        """Half-written files that are left, beside the download that a next start resumes."""
        return [str(path) for path in self._path.rglob(".*.part") if path.is_file()]

    def complaints(self) -> list[str]:
        """What the log says of aborts and tracebacks: of each of these, the error that it ends in."""
        lines = self.log().splitlines()
        wrong = [index for index, line in enumerate(lines) if _WRONG.search(line)]
        return [
            next((line for line in lines[index + 1 :] if line and not line.startswith(" ")), lines[index])
            for index in wrong
        ]

    def log(self) -> str:
        """The output of the app."""
        return (self._path / "log").read_text(errors="replace")
