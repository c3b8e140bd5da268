"""Streamlit's copies of the players' files are bounded: the oldest go first, downloads and the newest stay."""

from __future__ import annotations

import pytest
from streamlit.runtime.media_file_storage import MediaFileKind
from streamlit.runtime.memory_media_file_storage import MemoryFile, MemoryMediaFileStorage

from dashboard.server import memory_pressure
from dashboard.server.memory_pressure import FLOOR, MemoryPressure
from dashboard.server.players import Players

MB = 2**20


def storage(sizes: list[int]) -> dict[str, MemoryFile]:
    """The files of Streamlit's own storage, as ``st.audio`` fills it."""
    streamlit = MemoryMediaFileStorage("/media")
    for number, size in enumerate(sizes):
        streamlit.load_and_get_id(bytes([number]) * size, "audio/flac", MediaFileKind.MEDIA)
    streamlit.load_and_get_id(bytes(100 * MB), "application/zip", MediaFileKind.DOWNLOADABLE)
    return streamlit._files_by_id


def numbers(files: dict[str, MemoryFile]) -> list[int]:
    return [file.content[0] for file in files.values() if file.mimetype == "audio/flac"]


def test_the_oldest_files_go_where_all_take_more_than_64_mb() -> None:
    files = storage([17 * MB] * 5)
    Players(lambda: files).resize()
    assert numbers(files) == [2, 3, 4]
    assert len(files) == 4


def test_one_file_stays_whatever_its_size() -> None:
    files = storage([80 * MB])
    Players(lambda: files).resize()
    assert numbers(files) == [0]


def test_they_are_evicted_where_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_pressure, "IDLE_S", 0.0)
    files = storage([10 * MB] * 4)
    pressure = MemoryPressure(lambda: FLOOR - 15 * MB)
    pressure.add(Players(lambda: files))
    assert pressure.relieve() == 20 * MB
    assert numbers(files) == [2, 3]
