"""Visitors' recordings: the bytes that count, who loses theirs first, and who can get at whose."""

from __future__ import annotations

import pytest
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.uploaded_file_manager import UploadedFileRec

from core.errors import AudioError
from dashboard.server.recordings import FULL, IDLE_S, KEPT_S, Arrival, Limits, Recordings
from dashboard.server.source import Source


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def manager() -> MemoryUploadedFileManager:
    """Streamlit's own."""
    return MemoryUploadedFileManager("/_stcore/upload_file")


@pytest.fixture
def recordings(clock: Clock, manager: MemoryUploadedFileManager) -> Recordings:
    """Room for 100 bytes a visitor and 200 in all."""
    return Recordings(Limits(visitor=100, total=200), lambda: manager, clock)


def source(nbytes: int, name: str = "a.wav") -> Source:
    return Source.of_bytes(name, bytes(nbytes))


@pytest.mark.parametrize(
    ("memory", "file", "expected"),
    [
        (2**30, 50 * 2**20, (107_374_182, 214_748_364)),  # two files of 50 MB, four in all
        (100 * 2**20, 50 * 2**20, (50 * 2**20, 50 * 2**20)),  # one file always fits
        (64 * 2**30, 200 * 2**20, (2**30, 2 * 2**30)),
        (None, 50 * 2**20, (429_496_729, 858_993_459)),
    ],
)
def test_limits_go_by_the_memory_there_is(memory: int | None, file: int, expected: tuple[int, int]) -> None:
    limits = Limits.of_memory(memory, file)
    assert (limits.visitor, limits.total) == expected


def test_a_visitor_s_own_bytes_count_wherever_they_are(
    recordings: Recordings, manager: MemoryUploadedFileManager
) -> None:
    recordings.keep("ann", source(40))
    manager.add_file("session", UploadedFileRec("1", "b.wav", "audio/wav", bytes(30)))
    assert isinstance(recordings.admit("ann", "session", 30), Arrival)
    assert recordings.nbytes == 100
    refused = recordings.admit("ann", "session", 1)
    assert isinstance(refused, str)
    assert "100\u00a0B together" in refused
    assert recordings.refusal("session") == refused
    recordings.remove("ann", "session", [])
    assert recordings.refusal("session") is None


def test_exactly_the_limit_fits(recordings: Recordings) -> None:
    assert isinstance(recordings.admit("ann", "1", 100), Arrival)
    assert isinstance(recordings.admit("bob", "2", 100), Arrival)
    assert recordings.admit("eve", "3", 1) == FULL


def test_room_is_given_back_when_an_upload_ends(recordings: Recordings) -> None:
    arrival = recordings.admit("ann", "1", 100)
    assert isinstance(arrival, Arrival)
    recordings.arrived(arrival)
    assert isinstance(recordings.admit("ann", "1", 100), Arrival)
    assert recordings.refusal("1") is None


def test_the_one_who_is_idle_longest_goes_first_and_nobody_who_is_there(
    recordings: Recordings, clock: Clock, manager: MemoryUploadedFileManager
) -> None:
    first, second = source(90, "first.wav"), source(90, "second.wav")
    recordings.keep("ann", first)
    clock.now += 1
    recordings.keep("bob", second)
    clock.now += IDLE_S - 1.5  # ann is idle for less than IDLE_S, bob for a second less
    assert recordings.admit("eve", "3", 60) == FULL
    clock.now += 0.5
    assert isinstance(recordings.admit("eve", "3", 60), Arrival)
    assert recordings.find("ann", [first.address_key]) == []
    assert recordings.find("bob", [second.address_key]) == [second]
    with pytest.raises(
        AudioError, match=r'"first\.wav" is no longer in this server\'s memory; add it again\.'
    ):
        _ = first.data
    assert second.data == bytes(90)


def test_files_that_streamlit_holds_for_the_idle_go_too(
    recordings: Recordings, clock: Clock, manager: MemoryUploadedFileManager
) -> None:
    arrival = recordings.admit("ann", "1", 90)
    assert isinstance(arrival, Arrival)
    manager.add_file("1", UploadedFileRec("f", "a.wav", "audio/wav", bytes(90)))
    recordings.arrived(arrival)
    clock.now += 1
    recordings.keep("bob", source(90))
    assert recordings.admit("eve", "3", 60) == FULL
    clock.now += IDLE_S
    assert isinstance(recordings.admit("eve", "3", 60), Arrival)
    assert manager.get_files("1", ["f"]) == []


def test_recordings_are_their_owner_s_alone(recordings: Recordings) -> None:
    kept = recordings.keep("ann", source(10))
    assert recordings.find("eve", [kept.address_key]) == []
    recordings.remove("eve", "3", [kept.address_key])
    assert recordings.find("ann", [kept.address_key, "none"]) == [kept]
    assert recordings.keep("ann", source(10)) is kept  # the same bytes and name once
    recordings.remove("ann", "1", [kept.address_key])
    assert recordings.nbytes == 0


def test_what_nobody_used_for_long_is_dropped(recordings: Recordings, clock: Clock) -> None:
    kept = recordings.keep("ann", source(10))
    clock.now += KEPT_S - 1
    recordings.touch("bob")
    assert recordings.nbytes == 10
    clock.now += 1
    recordings.touch("bob")
    assert recordings.nbytes == 0
    assert recordings.find("ann", [kept.address_key]) == []


def test_made_up_visitors_are_not_remembered_without_end(
    recordings: Recordings, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboard.server.recordings.MOST_OWNERS", 3)
    recordings.keep("first", source(10))
    for number in range(2):
        recordings.touch(f"made up {number}")
    assert recordings.nbytes == 10
    recordings.touch("first")  # who is there stays
    for number in range(2, 4):
        recordings.touch(f"made up {number}")
    assert recordings.nbytes == 10
    recordings.touch("made up 4")
    assert recordings.nbytes == 0
