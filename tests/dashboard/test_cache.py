"""The bounded cache of results."""

from __future__ import annotations

import pytest

from dashboard.server.cache import ByteLruCache


def test_the_least_recently_used_is_evicted_when_the_budget_is_full() -> None:
    cache: ByteLruCache[bytes] = ByteLruCache(10, len)
    cache.put("a", b"1234")
    cache.put("b", b"1234")
    assert cache.get("a") == b"1234"
    cache.put("c", b"1234")
    assert cache.get("b") is None
    assert cache.get("a") == b"1234"
    assert cache.nbytes == 8


def test_one_entry_may_be_over_the_budget() -> None:
    cache: ByteLruCache[bytes] = ByteLruCache(3, len)
    cache.put("a", b"1")
    cache.put("big", b"12345")
    assert len(cache) == 1
    assert cache.get("big") == b"12345"


def test_a_value_is_made_once_and_an_error_stores_nothing() -> None:
    cache: ByteLruCache[bytes] = ByteLruCache(100, len)
    made = []

    def make() -> bytes:
        made.append(1)
        return b"x"

    assert cache.get_or_make("k", make) == cache.get_or_make("k", make) == b"x"
    assert len(made) == 1

    def fail() -> bytes:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        cache.get_or_make("other", fail)
    assert cache.get("other") is None


def test_replacing_a_value_counts_it_once() -> None:
    cache: ByteLruCache[bytes] = ByteLruCache(100, len)
    cache.put("k", b"12345")
    cache.put("k", b"12")
    assert cache.nbytes == 2


def test_what_grows_is_measured_again() -> None:
    cache: ByteLruCache[list[int]] = ByteLruCache(5, len, growing=True)
    small, other = [1], [1, 2]
    cache.put("small", small)
    cache.put("other", other)
    small += [2, 3, 4]
    assert cache.nbytes == 3
    cache.resize()
    assert cache.get("small") is None
    assert cache.get("other") is other
    assert cache.nbytes == 2


def test_only_what_was_not_used_lately_can_be_evicted() -> None:
    cache: ByteLruCache[bytes] = ByteLruCache(100, len)
    assert (cache.oldest_use(), cache.evict_oldest(0.0)) == (None, 0)
    cache.put("a", b"1")
    cache.put("b", b"123")
    assert cache.evict_oldest(3600.0) == 0
    assert cache.get("a") == b"1"  # so that b is the least recently used
    assert cache.evict_oldest(0.0) == 3
    assert (len(cache), cache.nbytes) == (1, 1)
