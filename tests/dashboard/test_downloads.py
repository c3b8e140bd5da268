"""Downloads in the background: progress, failure, cancelling."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from core.errors import DownloadError
from dashboard.server.downloads import Downloads, DownloadStatus


def settled(downloads: Downloads) -> DownloadStatus:
    end = time.monotonic() + 5
    while downloads.status.active and time.monotonic() < end:
        time.sleep(0.005)
    return downloads.status


def test_files_come_one_after_the_other_with_their_progress() -> None:
    seen: list[tuple[str, float | None]] = []

    def fetch(
        name: str, *, progress: Callable[[int, int | None], None], cancelled: Callable[[], bool]
    ) -> None:
        progress(50, 200)
        seen.append((name, downloads.status.share))

    downloads = Downloads(fetch)
    downloads.start(["cnn14", "epanns"])
    end = settled(downloads)
    assert seen == [("cnn14", 0.25), ("epanns", 0.25)]
    assert end.done
    assert end.finished == ("cnn14", "epanns")
    assert end.message is None


def test_the_time_left_is_that_of_all_files() -> None:
    """327 MB and 93 MB at 20 MB in a second are 20 s: 15 s for the rest of the first file and 5 s for the second."""
    seen: list[float | None] = []

    def fetch(
        name: str, *, progress: Callable[[int, int | None], None], cancelled: Callable[[], bool]
    ) -> None:
        if name == "cnn14":
            progress(0, 327_428_481)
            time.sleep(1.05)
            progress(20_000_000, 327_428_481)
            seen.append(downloads.status.left_s)

    downloads = Downloads(fetch)
    downloads.start(["cnn14", "epanns"])
    settled(downloads)
    assert seen[0] is not None
    assert 1.05 * 20.01 - 0.5 < seen[0] < 24  # (420.25 - 20) / 20 seconds and a little more


def test_a_failure_is_one_line_and_keeps_what_was_installed() -> None:
    def fetch(name: str, **_: object) -> None:
        if name == "epanns":
            raise DownloadError("zenodo.org did not answer; try again later.")

    downloads = Downloads(fetch)
    downloads.start(["cnn14", "epanns"])
    end = settled(downloads)
    assert end.message == "zenodo.org did not answer; try again later."
    assert end.finished == ("cnn14",)
    assert not end.done


def test_an_unforeseen_error_ends_the_download_too() -> None:
    def fetch(name: str, **_: object) -> None:
        raise RuntimeError("surprise")

    downloads = Downloads(fetch)
    downloads.start(["cnn14"])
    end = settled(downloads)
    assert not end.active
    assert end.message is not None
    assert "cnn14 could not be downloaded" in end.message


def test_cancel_stops_it_and_a_second_start_meanwhile_does_nothing() -> None:
    began = threading.Event()
    calls: list[str] = []

    def fetch(name: str, *, cancelled: Callable[[], bool], **_: object) -> None:
        calls.append(name)
        began.set()
        while not cancelled():
            time.sleep(0.005)
        raise DownloadError("cancelled")

    downloads = Downloads(fetch)
    downloads.start(["cnn14"])
    assert began.wait(5)
    downloads.start(["epanns"])
    downloads.cancel()
    end = settled(downloads)
    assert end.cancelled
    assert calls == ["cnn14"]
    assert end.message == "The download was stopped; what has arrived is kept."
