"""Memory is given back when little is free: the least recently used first, whichever shelf it lies on, and nothing in use."""

from __future__ import annotations

import pytest

from dashboard.server import memory_pressure
from dashboard.server.cache import Shelf
from dashboard.server.memory_pressure import FLOOR, Pressure

MB = 2**20


@pytest.fixture
def shelves(monkeypatch: pytest.MonkeyPatch) -> tuple[Shelf[str], Shelf[str]]:
    """Two shelves whose entries are all idle; ten entries of 10 MB, put on one and the other in turn."""
    monkeypatch.setattr(memory_pressure, "IDLE_S", 0.0)
    pair: tuple[Shelf[str], Shelf[str]] = (Shelf(10**9, lambda _: 10 * MB), Shelf(10**9, lambda _: 10 * MB))
    for number in range(10):
        pair[number % 2].put(number, str(number))
    return pair


def test_just_enough_goes_and_the_oldest_first(shelves: tuple[Shelf[str], Shelf[str]]) -> None:
    watch = Pressure(lambda: FLOOR - 25 * MB)
    watch.add(*shelves)
    assert watch.relieve() == 30 * MB
    left = [number for number in range(10) if shelves[number % 2].get(number) is not None]
    assert left == list(range(3, 10))


@pytest.mark.parametrize("free", [FLOOR, None])
def test_nothing_goes_where_enough_is_free_or_nobody_knows(
    free: int | None, shelves: tuple[Shelf[str], Shelf[str]]
) -> None:
    watch = Pressure(lambda: free)
    watch.add(*shelves)
    assert watch.relieve() == 0
    assert sum(map(len, shelves)) == 10


def test_what_is_in_use_stays(
    shelves: tuple[Shelf[str], Shelf[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_pressure, "IDLE_S", 3600.0)
    watch = Pressure(lambda: 0)
    watch.add(*shelves)
    assert watch.relieve() == 0
    assert sum(map(len, shelves)) == 10


def test_a_pressed_server_forgets_all_and_stops(shelves: tuple[Shelf[str], Shelf[str]]) -> None:
    watch = Pressure(lambda: 0)
    watch.add(*shelves)
    assert watch.relieve() == 100 * MB
    assert watch.relieve() == 0
