"""What the pages say of the engine behind a measured time."""

from __future__ import annotations

import pytest

from core import tagging
from core.profiling import Latency
from core.runtime.engine import TorchEngine
from dashboard.server.timing import Timed
from dashboard.widgets import engine_text

QUICK = Latency.of([20.0, 21.0, 24.0])


def test_the_engines_are_named_once_and_the_reason_is_in_the_text() -> None:
    first, second = (Timed(QUICK, "fast", "fast, since it is; 2 threads", False) for _ in range(2))
    text = engine_text.conditions((first, second))
    assert "10 s of audio" in text
    assert "median of 3 runs" in text
    assert text.count("fast, since it is; 2 threads.") == 1
    assert engine_text.fallback((first, second)) is None


def test_two_engines_are_both_named_and_a_fall_back_is_said() -> None:
    first = Timed(QUICK, "fast", "fast, since it is", False)
    second = Timed(QUICK, "torch", "torch, because fast cannot be used: no such package.", True)
    assert (
        "fast, since it is; torch, because fast cannot be used: no such package."
        in engine_text.conditions((first, second))
    )
    assert "faster engine than torch could not be used" in (engine_text.fallback((first, second)) or "")


@pytest.mark.usefixtures("embedded")
def test_a_tagger_knows_whether_it_fell_back(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = tagging.load_tagger("demo-epanns", runtime="torch")
    asked.build_engine()
    assert not asked.fell_back
    monkeypatch.setattr(
        tagging,
        "engine_for",
        lambda model, *_: TorchEngine(model, "torch, the fastest for this architecture"),
    )
    fastest = tagging.load_tagger("demo-epanns")
    fastest.build_engine()
    assert not fastest.fell_back  # no engine is made for it
    monkeypatch.setattr(
        tagging,
        "engine_for",
        lambda model, *_: TorchEngine(model, "torch, because nothing else can be used", fell_back=True),
    )
    left = tagging.load_tagger("demo-epanns")
    assert not left.fell_back  # nothing has been tried yet
    left.build_engine()
    assert left.fell_back
    assert left.engine_bytes == 0
