"""The bounded store of results."""

from __future__ import annotations

import pytest

from dashboard.server.cache import Shelf


def test_the_longest_unasked_goes_first_when_the_budget_is_full() -> None:
    shelf: Shelf[bytes] = Shelf(10, len)
    shelf.put("a", b"1234")
    shelf.put("b", b"1234")
    assert shelf.get("a") == b"1234"
    shelf.put("c", b"1234")
    assert shelf.get("b") is None
    assert shelf.get("a") == b"1234"
    assert shelf.held_bytes == 8


def test_one_entry_may_be_over_the_budget() -> None:
    shelf: Shelf[bytes] = Shelf(3, len)
    shelf.put("a", b"1")
    shelf.put("big", b"12345")
    assert len(shelf) == 1
    assert shelf.get("big") == b"12345"


def test_a_value_is_made_once_and_an_error_stores_nothing() -> None:
    shelf: Shelf[bytes] = Shelf(100, len)
    made = []

    def make() -> bytes:
        made.append(1)
        return b"x"

    assert shelf.get_or_make("k", make) == shelf.get_or_make("k", make) == b"x"
    assert len(made) == 1

    def fail() -> bytes:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        shelf.get_or_make("other", fail)
    assert shelf.get("other") is None


def test_replacing_a_value_counts_it_once() -> None:
    shelf: Shelf[bytes] = Shelf(100, len)
    shelf.put("k", b"12345")
    shelf.put("k", b"12")
    assert shelf.held_bytes == 2


def test_what_grows_is_weighed_again() -> None:
    shelf: Shelf[list[int]] = Shelf(5, len, growing=True)
    small, other = [1], [1, 2]
    shelf.put("small", small)
    shelf.put("other", other)
    small += [2, 3, 4]
    assert shelf.held_bytes == 3
    shelf.settle()
    assert shelf.get("small") is None
    assert shelf.get("other") is other
    assert shelf.held_bytes == 2


def test_only_what_was_not_asked_for_lately_can_be_dropped() -> None:
    shelf: Shelf[bytes] = Shelf(100, len)
    assert (shelf.idle_s(), shelf.drop_oldest(0.0)) == (None, 0)
    shelf.put("a", b"1")
    shelf.put("b", b"123")
    assert shelf.drop_oldest(3600.0) == 0
    assert shelf.get("a") == b"1"  # so that b is the one not asked for the longest
    assert shelf.drop_oldest(0.0) == 3
    assert (len(shelf), shelf.held_bytes) == (1, 1)
