"""The real downloader against a real HTTP server in this process, which behaves well or badly as each test requires."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock

from core.checkpoints import (
    DownloadCancelledError,
    Entry,
    download,
    entry,
    fetch,
    path_of,
    recorded_sha256,
    remove,
)
from core.errors import CheckpointError, DownloadError

CONTENT = np.random.default_rng(7).bytes(1_000_003)
MD5 = hashlib.md5(CONTENT).hexdigest()
SHA256 = hashlib.sha256(CONTENT).hexdigest()
FILE = "Small_mAP=0.5.pth"


@dataclass
class Site:
    """What the server has and how it answers; ``answers`` is used up one request at a time, then all goes well."""

    address: str = ""
    content: bytes = CONTENT
    answers: list[str] = field(default_factory=list)
    record: Any = None
    ranges: list[str | None] = field(default_factory=list)  # the Range header of each request for the file
    agents: set[str] = field(default_factory=set)
    slow: threading.Event = field(default_factory=threading.Event)


def handler(site: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            site.agents.add(self.headers["User-Agent"])
            if self.path.startswith("/api/records/"):
                body = json.dumps(site.record).encode() if site.record is not None else b"<html>busy</html>"
                return self.answer(200, body)
            assert self.path == "/records/1/files/Small_mAP%3D0.5.pth?download=1", self.path
            wanted = self.headers["Range"]
            site.ranges.append(wanted)
            how = site.answers.pop(0) if site.answers else "well"
            if how in ("404", "503", "500", "403"):
                return self.answer(int(how), b"no")
            start = 0
            if wanted and how != "ignore-range":
                start = int(wanted.removeprefix("bytes=").removesuffix("-"))
                if start >= len(site.content):
                    known = {"Content-Range": f"bytes */{len(site.content)}"}
                    return self.answer(416, b"", known if how != "416-bare" else {})
            if how == "other-range":
                start = start // 2
            body = site.content[start:]
            headers = {}
            if start:
                headers["Content-Range"] = f"bytes {start}-{len(site.content) - 1}/{len(site.content)}"
            if how == "cut":  # the connection goes away in the middle
                self.answer(206 if start else 200, body, headers, send=len(body) // 2)
                return self.close()
            if how == "no-length":
                self.send_response(200)
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(body)
                return self.close()
            if how == "stall":
                self.answer(206 if start else 200, body, headers, send=len(body) // 2)
                site.slow.wait(10)
                return self.close()
            self.answer(206 if start else 200, body, headers)

        def close(self) -> None:
            self.wfile.flush()
            self.close_connection = True

        def answer(
            self, status: int, body: bytes, headers: dict[str, str] | None = None, send: int | None = None
        ) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body[:send])

    return Handler


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Site]:
    site = Site()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(site))
    server.daemon_threads = True
    site.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    monkeypatch.setenv("PANNSCOPE_ZENODO", site.address)
    monkeypatch.setenv("PANNSCOPE_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(download, "BACKOFF_S", 0.01)
    yield site
    site.slow.set()
    server.shutdown()
    server.server_close()
    thread.join()


def small(**changes: Any) -> Entry:
    values: dict[str, Any] = {
        "name": "small",
        "title": "Small",
        "architecture": "cnn14",
        "kind": "official",
        "licence": "CC0",
        "source": "a test",
        "about": "Not a model.",
        "file": FILE,
        "url": "https://zenodo.org/records/1/files/Small_mAP%3D0.5.pth?download=1",
        "record": "1",
        "size_bytes": len(CONTENT),
        "md5": MD5,
    }
    return Entry(**values | changes)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    folder = tmp_path / "weights"
    folder.mkdir()
    return folder


def begun(weights: Path, content: bytes) -> Path:
    part = weights / (FILE + ".part")
    part.write_bytes(content)
    return part


def test_downloads_verifies_and_installs(site: Site, weights: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    fetched = fetch(small(), progress=lambda done, total: seen.append((done, total)))
    assert (fetched.name, fetched.path, fetched.sha256) == ("small", weights / FILE, SHA256)
    assert fetched.path.read_bytes() == CONTENT
    assert not (weights / (FILE + ".part")).exists()
    assert seen[0] == (0, len(CONTENT))
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert all(agent.startswith("pannscope/") for agent in site.agents)
    assert recorded_sha256(fetched.path) == SHA256


def test_an_installed_file_is_returned_at_once(site: Site) -> None:
    first = fetch(small())
    assert fetch(small()) == first
    assert len(site.ranges) == 1


def test_a_changed_file_is_noticed(site: Site, weights: Path) -> None:
    fetch(small())
    (weights / FILE).write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(DownloadError, match=r"not the published file.*move it away"):
        fetch(small())


def test_a_file_put_there_by_hand_is_verified_and_kept(site: Site, weights: Path) -> None:
    (weights / FILE).write_bytes(CONTENT)
    assert fetch(small()).sha256 == SHA256
    assert site.ranges == []


def test_resumes_behind_what_is_there(site: Site, weights: Path) -> None:
    begun(weights, CONTENT[:400_000])
    seen: list[int] = []
    assert fetch(small(), progress=lambda done, _: seen.append(done)).sha256 == SHA256
    assert site.ranges == ["bytes=400000-"]
    assert seen[0] == 400_000


@pytest.mark.parametrize("answer", ["ignore-range", "other-range"])
def test_a_server_that_ignores_the_range_starts_again(site: Site, weights: Path, answer: str) -> None:
    begun(weights, CONTENT[:400_000])
    site.answers = [answer]
    assert fetch(small()).path.read_bytes() == CONTENT


def test_a_part_of_another_file_is_thrown_away(site: Site, weights: Path) -> None:
    begun(weights, b"x" * 400_000)
    assert fetch(small()).path.read_bytes() == CONTENT
    assert site.ranges == ["bytes=400000-", None]


def test_a_part_that_is_too_long_is_thrown_away(site: Site, weights: Path) -> None:
    begun(weights, CONTENT + b"more")
    assert fetch(small()).path.read_bytes() == CONTENT
    assert site.ranges == [None]


def test_a_complete_part_is_installed_without_a_request(site: Site, weights: Path) -> None:
    begun(weights, CONTENT)
    assert fetch(small()).sha256 == SHA256
    assert site.ranges == []


@pytest.mark.parametrize("answer", ["well", "416-bare"])
def test_416_on_a_complete_part_of_unknown_size(site: Site, weights: Path, answer: str) -> None:
    begun(weights, CONTENT)
    site.answers = [answer]
    assert fetch(small(size_bytes=None)).path.read_bytes() == CONTENT
    assert site.ranges == ["bytes=1000003-"] + ([None] if answer == "416-bare" else [])


def test_a_cut_connection_is_continued(site: Site) -> None:
    site.answers = ["cut", "cut"]
    assert fetch(small()).sha256 == SHA256
    assert site.ranges[0] is None
    assert site.ranges[1:] == ["bytes=500001-", "bytes=750002-"]


def test_a_connection_that_stays_cut_keeps_what_arrived(site: Site, weights: Path) -> None:
    site.answers = ["cut"] * 3
    with pytest.raises(DownloadError, match=r"failed 3 times.*0\.9 MB are kept: fetch again") as caught:
        fetch(small())
    assert "\n" not in str(caught.value)
    kept = weights / (FILE + ".part")
    assert kept.read_bytes() == CONTENT[: kept.stat().st_size]
    assert kept.stat().st_size > 800_000
    assert not (weights / FILE).exists()
    assert fetch(small()).sha256 == SHA256
    assert site.ranges[3] == f"bytes={875002}-"


def test_a_busy_server_is_asked_again(site: Site) -> None:
    site.answers = ["503", "500"]
    assert fetch(small()).sha256 == SHA256
    assert len(site.ranges) == 3


def test_a_server_that_stays_busy_is_given_up(site: Site) -> None:
    site.answers = ["503"] * 10
    with pytest.raises(DownloadError, match="returned 503 Service Unavailable; fetch again later"):
        fetch(small())
    assert len(site.ranges) == 3


@pytest.mark.parametrize("status", ["404", "403"])
def test_http_errors_are_one_line(site: Site, status: str) -> None:
    site.answers = [status]
    with pytest.raises(
        DownloadError, match=rf"{site.address}/records/1/.* returned {status} .*fetch again"
    ) as caught:
        fetch(small())
    assert "\n" not in str(caught.value)
    assert len(site.ranges) == 1


def test_wrong_bytes_are_removed_and_never_installed(site: Site, weights: Path) -> None:
    site.content = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
    with pytest.raises(DownloadError, match=f"sha256 .* not {SHA256}.*removed"):
        fetch(small(sha256=SHA256))
    assert [path.name for path in weights.iterdir()] == [FILE + ".lock"]


def test_another_size_is_refused_before_the_body(site: Site, weights: Path) -> None:
    site.content = CONTENT[:-1]
    with pytest.raises(DownloadError, match=r"1000002 bytes.* where 1000003 bytes are expected"):
        fetch(small())
    assert not (weights / (FILE + ".part")).exists()


def test_a_body_without_a_length(site: Site) -> None:
    site.answers = ["no-length"]
    assert fetch(small(size_bytes=None)).sha256 == SHA256


def test_a_silent_server_does_not_hang(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "TIMEOUT_S", 0.3)
    site.answers = ["stall"]
    started = time.monotonic()
    assert fetch(small()).sha256 == SHA256  # the second try continues
    assert time.monotonic() - started < 5
    assert site.ranges == [None, "bytes=500001-"]


def test_cancelling_keeps_what_arrived(site: Site, weights: Path) -> None:
    there = []
    site.answers = ["stall"]
    with pytest.raises(DownloadCancelledError, match=r"cancelled; 0.* MB are kept"):
        fetch(
            small(), progress=lambda done, _: there.append(done), cancelled=lambda: bool(there and there[-1])
        )
    assert (weights / (FILE + ".part")).stat().st_size > 0
    assert fetch(small()).sha256 == SHA256


def test_no_network_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PANNSCOPE_ZENODO", "http://127.0.0.1:9")
    monkeypatch.setenv("PANNSCOPE_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(download, "BACKOFF_S", 0.01)
    with pytest.raises(
        DownloadError, match=r"failed 3 times.*cannot be reached.*fetch again later"
    ) as caught:
        fetch(small())
    assert "\n" not in str(caught.value)


def test_the_records_checksum_is_asked_for_and_enforced(site: Site, weights: Path) -> None:
    site.record = {"files": [{"key": FILE, "size": len(CONTENT), "checksum": f"md5:{MD5}"}]}
    fetched = fetch(small(md5=None, size_bytes=None))
    assert fetched.sha256 == SHA256
    receipt = json.loads((weights / (FILE + ".json")).read_text())
    assert receipt["sha256"] == SHA256
    assert receipt["md5"] == MD5
    assert receipt["verified_by"] == f"{site.address}/api/records/1"


def test_the_records_checksum_refuses_other_bytes(site: Site, weights: Path) -> None:
    site.record = {"files": [{"key": FILE, "size": len(CONTENT), "checksum": "md5:" + "0" * 32}]}
    with pytest.raises(DownloadError, match=r"md5 .* not 00000"):
        fetch(small(md5=None))
    assert not (weights / FILE).exists()


@pytest.mark.parametrize(
    "record",
    [
        None,
        {},
        {"files": 3},
        {"files": []},
        {"files": [{"key": "other.pth", "checksum": f"md5:{MD5}"}]},
        {"files": [{"key": FILE}]},
        {"files": [{"key": FILE, "checksum": "crc32:0"}]},
    ],
)
def test_without_a_checksum_nothing_is_downloaded(site: Site, weights: Path, record: Any) -> None:
    site.record = record
    with pytest.raises(DownloadError, match="nothing is installed"):
        fetch(small(md5=None))
    assert site.ranges == []
    assert not (weights / FILE).exists()


def test_without_a_published_checksum_the_tensors_decide(site: Site, weights: Path) -> None:
    """A release that publishes no checksum: the file has to be the architecture's, and the sha256 of what arrived is recorded."""
    site.content = path_of(entry("demo-epanns")).read_bytes()
    unlisted = {"md5": None, "record": None, "size_bytes": None}
    unlisted |= {"url": f"{site.address}/records/1/files/Small_mAP%3D0.5.pth?download=1"}
    fetched = fetch(small(**unlisted, params=entry("demo-epanns").params))
    assert fetched.sha256 == hashlib.sha256(site.content).hexdigest()
    receipt = json.loads((weights / (FILE + ".json")).read_text())
    assert receipt["verified_by"] == "its tensors: no checksum is published"
    remove(small())
    with pytest.raises(DownloadError, match=r"1,655,519 parameters, not 80,753,615.*nothing was installed"):
        fetch(small(**unlisted, params=80_753_615))
    site.content = CONTENT
    with pytest.raises(DownloadError, match=r"is not the published file .*nothing was installed"):
        fetch(small(**unlisted, params=1))
    assert not (weights / FILE).exists()


def test_removing_leaves_nothing_and_fetching_again_works(site: Site, weights: Path) -> None:
    fetch(small())
    begun(weights, CONTENT[:10])
    assert remove(small()) > len(CONTENT)
    assert {file.name for file in weights.iterdir()} <= {FILE + ".lock"}
    with pytest.raises(DownloadError, match="Small is not installed"):
        remove(small())
    assert fetch(small()).sha256 == SHA256


def test_what_is_being_fetched_or_was_never_a_file_is_not_removed(site: Site, weights: Path) -> None:
    part = begun(weights, CONTENT[:10])
    with (
        FileLock(weights / (FILE + ".lock")),
        ThreadPoolExecutor() as other,
        pytest.raises(DownloadError, match="still fetching"),
    ):
        other.submit(remove, small()).result()
    assert part.exists()
    with pytest.raises(DownloadError, match="AST is not installed"):
        remove("ast")


def test_a_full_disk_is_found_before_the_request(
    site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=2_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DownloadError, match=r"68\.1 MB are needed .* 2\.0 MB are free; free some space"):
        fetch(small())
    assert site.ranges == []
    with pytest.raises(DownloadError, match="are needed"):  # the size is known from the answer only
        fetch(small(size_bytes=None))


SPARE = 64 * 1024 * 1024  # left free on the disk


@pytest.mark.parametrize(
    ("there", "free", "enough"),
    [
        (0, SPARE + len(CONTENT), True),
        (0, SPARE + len(CONTENT) - 1, False),
        (400_000, SPARE + len(CONTENT) - 400_000, True),  # what has arrived takes no room again
        (400_000, SPARE + len(CONTENT) - 400_001, False),
    ],
)
@pytest.mark.parametrize("size_known", [True, False])
def test_room_is_needed_for_what_is_still_to_come(
    site: Site, weights: Path, monkeypatch: pytest.MonkeyPatch, there, free, enough, size_known
) -> None:
    if there:
        begun(weights, CONTENT[:there])
    usage = shutil.disk_usage(weights)._replace(free=free)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    entry = small(size_bytes=len(CONTENT) if size_known else None)
    if enough:
        assert fetch(entry).sha256 == SHA256
    else:
        with pytest.raises(DownloadError, match=r"are needed in .* free some space"):
            fetch(entry)
        assert not (weights / FILE).exists()


def test_a_server_that_sends_more_than_the_file_is_cut_off(site: Site, weights: Path) -> None:
    site.content, site.answers = CONTENT + b"x", ["no-length"]
    with pytest.raises(
        DownloadError, match=r"sends more than the expected 1000003 bytes.*nothing was installed"
    ):
        fetch(small())
    assert [path.name for path in weights.iterdir()] == [FILE + ".lock"]


def test_a_checksum_may_be_written_in_capitals(site: Site) -> None:
    assert fetch(small(md5=MD5.upper(), sha256=SHA256.upper())).sha256 == SHA256


def test_an_installed_file_that_the_manifest_no_longer_lists_is_noticed(site: Site) -> None:
    fetch(small())
    for changes in (
        {"md5": "0" * 32},
        {"sha256": "0" * 64},
        {"size_bytes": len(CONTENT) + 1, "md5": "0" * 32},
    ):
        with pytest.raises(DownloadError, match="not the published file"):
            fetch(small(**changes))


def test_a_folder_that_cannot_be_made(site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("PANNSCOPE_WEIGHTS", str(tmp_path / "file" / "weights"))
    with pytest.raises(DownloadError, match=r"cannot be created.*PANNSCOPE_WEIGHTS"):
        fetch(small())


def test_threads_share_one_download(site: Site) -> None:
    results = []
    threads = [threading.Thread(target=lambda: results.append(fetch(small()).sha256)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [SHA256] * 4
    assert len(site.ranges) == 1


def test_another_process_is_waited_for(site: Site, weights: Path) -> None:
    lock = weights / (FILE + ".lock")
    hold = (
        "import sys; from filelock import FileLock\n"
        "with FileLock(sys.argv[1]): print('held', flush=True); sys.stdin.readline()\n"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", hold, str(lock)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert other.stdin is not None
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"
    asked: list[int] = []

    def enough() -> bool:
        asked.append(1)
        return len(asked) > 2

    with pytest.raises(DownloadCancelledError, match="another process is still fetching"):
        fetch(small(), cancelled=enough)
    other.stdin.write("\n")
    other.stdin.flush()
    assert fetch(small()).sha256 == SHA256
    assert other.wait(10) == 0


def test_a_folder_without_locks_is_one_line(
    site: Site, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: object, **__: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    with monkeypatch.context() as context:
        context.setattr(FileLock, "_acquire", no_locks)
        with pytest.raises(DownloadError, match=r"\.lock cannot be locked \(No locks.*PANNSCOPE_WEIGHTS"):
            fetch(small())
    (weights / (FILE + ".lock")).mkdir()
    with pytest.raises(DownloadError, match="cannot be locked"):
        fetch(small())
    assert site.ranges == []


def test_names_that_cannot_be_fetched() -> None:
    with pytest.raises(
        DownloadError, match=r"no file to fetch \(weights not published\); fetch one of .*epanns"
    ):
        fetch("epanns-25")
    with pytest.raises(CheckpointError, match=r"Unknown checkpoint 'cn14'.*Did you mean cnn14\?"):
        fetch("cn14")
    with pytest.raises(DownloadError, match=r"does not build its architecture; fetch one of"):
        fetch(small(architecture="not-built"))


def test_a_pause_lasts_to_its_end_unless_it_is_cancelled() -> None:
    started = time.monotonic()
    download._pause(0.15, lambda: 0, None)
    assert time.monotonic() - started >= 0.15
    with pytest.raises(DownloadCancelledError, match="fetch again to resume"):
        download._pause(60.0, lambda: 0, lambda: True)
