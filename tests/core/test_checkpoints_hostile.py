"""Checkpoints made to attack: each is refused by its name in one line, or its weights are loaded and the rest is skipped.

The files are those of ``scripts/hostile_checkpoints.py``, each loaded in a process of its own, whose memory and time are measured.
"""

from __future__ import annotations

import sys
from functools import cache
from typing import Any

import pytest

from scripts import hostile_checkpoints

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")

QUICK = [kind.name for kind in hostile_checkpoints.kinds() if not kind.slow]
MOST_MB = 60
"""Of the quick kinds; the worst of all is in docs/reliability.md."""


@cache
def measured() -> dict[str, dict[str, Any]]:
    """What became of every quick kind, by name; all are loaded by one program, one after the other."""
    return {row["name"]: row for row in hostile_checkpoints.measure_all(quick=True)}


def test_there_are_enough_kinds() -> None:
    assert len(QUICK) == len(set(QUICK)) > 100


@pytest.mark.parametrize("name", QUICK)
def test_nothing_of_it_runs_and_it_costs_little(name: str) -> None:
    row = measured()[name]
    assert hostile_checkpoints.as_expected(row), row
    assert row["mb"] < MOST_MB, row
