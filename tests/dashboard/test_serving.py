"""A real server, started without a word about addresses: nothing leaves the machine, uploads are counted, and a signal ends it."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator

import pytest

from benchmarks.app_client import Visitor
from benchmarks.server_trials import FILE_BYTES, MEMORY, PAIR
from benchmarks.trial_server import TrialServer

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the server is watched through /proc")


@pytest.fixture(scope="module")
def server(embedded: None) -> Iterator[TrialServer]:
    """The app on a machine of 1 GB, with a proxy that leads nowhere."""
    with TrialServer("streamlit run dashboard/app.py", memory=MEMORY, proxy="http://127.0.0.1:9") as started:
        yield started


def test_nothing_leaves_at_the_start_nor_for_foreign_handshakes(server: TrialServer) -> None:
    began = time.monotonic()
    assert [server.handshake(f"https://page{number}.example") for number in range(5)] == [403] * 5
    assert time.monotonic() - began < 2  # one look-up of Streamlit's took that long, for each
    assert server.handshake(f"http://{server.address}") == 101
    assert server.handshake("http://localhost:3000") == 101
    assert server.outside() == []


def test_the_third_large_upload_is_refused_in_a_line_and_the_server_goes_on(server: TrialServer) -> None:
    visitor = Visitor(server.address, *PAIR)
    visitor.open_page()
    file = bytes(FILE_BYTES)
    urls = [visitor.upload_urls("a.wav").upload_url for _ in range(3)]
    assert [visitor.offer(url, "a.wav", file) for url in urls] == [204, 204, 413]
    line = "Your recordings may take 100\u00a0MB together on this server: remove some, add smaller ones, or use the command line."
    assert line in visitor.open_page().alerts
    visitor.close()
    assert server.get("/_stcore/health") == "ok"


def test_the_last_a_signal_ends_it_while_an_upload_hangs(server: TrialServer) -> None:
    visitor = Visitor(server.address, *PAIR)
    visitor.begin_upload(FILE_BYTES)
    began = time.monotonic()
    assert server.signal(signal.SIGTERM) == 0
    assert time.monotonic() - began < 5
    assert (server.complaints(), server.drafts(), server.outside()) == ([], [], [])
