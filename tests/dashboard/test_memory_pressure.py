"""Memory is freed when little is left: the least recently used first, whichever cache it is in, and nothing in use."""

from __future__ import annotations

import pytest

from dashboard.server import memory_pressure
from dashboard.server.cache import ByteLruCache
from dashboard.server.memory_pressure import FLOOR, MemoryPressure

MB = 2**20


@pytest.fixture
def caches(monkeypatch: pytest.MonkeyPatch) -> tuple[ByteLruCache[str], ByteLruCache[str]]:
    """Two caches whose entries are all idle; ten entries of 10 MB, put in one and the other alternately."""
    monkeypatch.setattr(memory_pressure, "IDLE_S", 0.0)
    pair: tuple[ByteLruCache[str], ByteLruCache[str]] = (
        ByteLruCache(10**9, lambda _: 10 * MB),
        ByteLruCache(10**9, lambda _: 10 * MB),
    )
    for number in range(10):
        pair[number % 2].put(number, str(number))
    return pair


def test_just_enough_is_evicted_and_the_oldest_first(
    caches: tuple[ByteLruCache[str], ByteLruCache[str]],
) -> None:
    watch = MemoryPressure(lambda: FLOOR - 25 * MB)
    for cache in caches:
        watch.add(cache)
    assert watch.relieve() == 30 * MB
    left = [number for number in range(10) if caches[number % 2].get(number) is not None]
    assert left == list(range(3, 10))


@pytest.mark.parametrize("free", [FLOOR, None])
def test_nothing_is_evicted_where_enough_is_free_or_nobody_knows(
    free: int | None, caches: tuple[ByteLruCache[str], ByteLruCache[str]]
) -> None:
    watch = MemoryPressure(lambda: free)
    for cache in caches:
        watch.add(cache)
    assert watch.relieve() == 0
    assert sum(map(len, caches)) == 10


def test_what_is_in_use_stays(
    caches: tuple[ByteLruCache[str], ByteLruCache[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_pressure, "IDLE_S", 3600.0)
    watch = MemoryPressure(lambda: 0)
    for cache in caches:
        watch.add(cache)
    assert watch.relieve() == 0
    assert sum(map(len, caches)) == 10


def test_under_full_pressure_everything_is_evicted_and_the_loop_ends(
    caches: tuple[ByteLruCache[str], ByteLruCache[str]],
) -> None:
    watch = MemoryPressure(lambda: 0)
    for cache in caches:
        watch.add(cache)
    assert watch.relieve() == 100 * MB
    assert watch.relieve() == 0
