"""The trade-off: every figure has a source, one convention for the STFT, the front by hand, times and results that are kept."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from core.checkpoints import entries, entry, manifest
from core.tradeoff import (
    COSTS,
    NotEnoughMemoryError,
    kept_results,
    machine,
    measurable,
    measure,
    measured,
    own_systems,
    rows,
    systems,
    times,
)
from core.tradeoff.front import pareto_front

STFT = 2 * 513 * 1024 * 1001  # 10 s at 32 kHz


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache folder. What is compiled would be compiled again in it: nothing here runs on our own kernels."""
    monkeypatch.setenv("PANNSCOPE_CACHE", str(tmp_path))
    monkeypatch.setattr("core.runtime.choice._FAST", {})
    monkeypatch.setattr(times, "_PASSES", 2)
    return tmp_path


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> str:
    """A listed network that is small enough to be timed in a test."""
    small = replace(
        entry("cnn14"), name="narrow", widths=(4,) * 12, embedding=8, params=10_000, size_bytes=None
    )
    monkeypatch.setitem(entries._manifest(), "narrow", small)
    return "narrow"


@pytest.mark.parametrize("count_stft", [False, True])
def test_no_figure_is_without_a_source(count_stft: bool) -> None:
    timed = {name: times.Timed(20.0, 19.0, 21.0, "winograd") for name in measurable()}
    listed = systems(timed, count_stft=count_stft)
    assert len(listed) == sum(each.published_mAP is not None for each in manifest().values())
    for system in listed:
        for figure in (system.quality, *system.costs.values()):
            assert figure.value > 0
            assert len(figure.source) > 5
        assert "params" in system.costs
        assert ("time" in system.costs) == (system.name in timed)
        kinds = {cost: figure.source for cost, figure in system.costs.items()}
        assert kinds.get("time", "measured").startswith("measured")
        stated = entry(system.name).figures_source
        assert all(
            kinds[cost].startswith(stated or "counted") for cost in ("macs", "params") if cost in kinds
        )
    for row in rows(listed):
        for figure in ("mAP", "time_ms", "macs_10s", "params"):
            assert (row[figure] is None) == (row[f"{figure}_source"] is None)


def test_the_stft_is_counted_for_all_or_for_none() -> None:
    """CNN14's authors compute it by Conv1d layers, mn04's by an FFT, LeeNet has none, and of a published count nothing is known."""
    without, with_stft = (
        {
            each.name: each.costs["macs"].value
            for each in systems({}, count_stft=counted)
            if "macs" in each.costs
        }
        for counted in (False, True)
    )
    assert (without["cnn14"], with_stft["cnn14"]) == (21_158_377_728 - STFT, 21_158_377_728)
    assert (without["mn04"], with_stft["mn04"]) == (129_832_704, 129_832_704 + STFT - 2 * 513 * 1024)
    assert without["lee-net11"] == with_stft["lee-net11"] == 2_425_176_128
    assert without["beats"] == 49e9
    assert "beats" not in with_stft


def test_the_front_by_hand() -> None:
    points = {
        "a": (1.0, 0.30),
        "b": (2.0, 0.40),
        "c": (2.0, 0.41),
        "d": (3.0, 0.41),
        "e": (9.0, 0.50),
        "f": (10.0, 0.2),
    }
    assert pareto_front(points) == ["a", "c", "e"]
    assert pareto_front({"twin": (1.0, 0.5), "other": (1.0, 0.5)}) == [
        "twin",
        "other",
    ]  # neither beats the other
    assert pareto_front({}) == []


def test_the_front_against_its_definition() -> None:
    drawn = np.random.default_rng(0).integers(0, 6, (40, 2))
    points = {f"{number}": (float(cost), float(quality)) for number, (cost, quality) in enumerate(drawn)}
    beaten = {
        one
        for one, (cost, quality) in points.items()
        for other in points.values()
        if other[0] <= cost and other[1] >= quality and other != (cost, quality)
    }
    front = pareto_front(points)
    assert set(front) == set(points) - beaten
    assert all(points[one] <= points[other] for one, other in pairwise(front))


def test_on_the_front_of_the_published_systems() -> None:
    listed = {row["name"]: row for row in rows(systems({}))}
    assert [name for name, row in listed.items() if row["front_macs"]] == ["mn04", "mn05", "mn10"]
    # Parameters mean the same in every paper; MACs do not: dymn04's 0.12 G leave out what mn04's 0.130 G count.
    assert [name for name, row in listed.items() if row["front_params"]] == [
        "lee-net11", "mn04", "mn05", "mn10", "dymn04", "ced-tiny", "ced-mini", "ced-small", "ced-base",
    ]  # fmt: skip
    assert not any(row["front_time"] for row in listed.values())  # nothing has been timed


def test_a_time_is_measured_once_and_kept_for_this_machine(cache: Path, narrow: str) -> None:
    assert measured() == {}
    timed = measure(narrow)
    assert 0 < timed.lower_quartile_ms <= timed.median_ms <= timed.upper_quartile_ms
    assert measured() == {narrow: timed}
    (system,) = [each for each in systems(measured()) if each.name == narrow]
    assert system.costs["time"].value == timed.median_ms
    assert machine() in system.costs["time"].source
    file = cache / "times.json"
    stored = json.loads(file.read_text())
    file.write_text(json.dumps(stored | {"machine": "another"}))
    assert measured() == {}
    for broken in (
        "",
        "[]",
        "{}",
        '{"machine": 1, "times": {}}',
        json.dumps(stored | {"times": {narrow: {}}}),
    ):
        file.write_text(broken)
        assert measured() == {}


def test_a_network_that_the_free_memory_does_not_hold_is_left_out(
    cache: Path, narrow: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(times, "usable_memory", lambda: 2**20)
    with pytest.raises(NotEnoughMemoryError, match=r"CNN14 needs 0\.4 GB of free memory"):
        measure(narrow)
    assert measured() == {}


def test_what_evaluate_keeps_is_on_the_picture(cli, studio: Path, cache: Path) -> None:
    arguments = (
        "evaluate",
        "-m",
        studio / "small.safetensors",
        "--manifest",
        studio / "clips.csv",
        "--audio",
        studio,
    )
    quality = cli(*arguments, "--json").document
    assert kept_results() == ()
    cli(*arguments, "--keep")
    cli(*arguments, "--keep", "--json")  # replaces the first
    (result,) = kept_results()
    assert (result.quality, result.clips, result.classes) == (
        quality["mAP"],
        quality["clips"],
        quality["classes"],
    )
    (system,) = own_systems(kept_results(), count_stft=True)
    assert (system.title, system.state, system.family) == ("small", "own", "clips.csv")
    profile = cli("profile", "-m", studio / "small.safetensors", "--json").document
    assert {cost: system.costs[cost].value for cost in ("macs", "params")} == {
        "macs": profile["macs"],
        "params": profile["params_trainable"],
    }
    assert system.costs["time"].value == result.time_ms
    (bare,) = own_systems(kept_results())
    assert bare.costs["macs"].value == profile["macs"] - STFT
    assert all(figure.source for figure in (system.quality, *system.costs.values()))
    (other,) = own_systems([replace(result, machine="another", macs_10s=None)])
    assert set(other.costs) == {"params"}  # a time of another machine says nothing here
    shown = cli("tradeoff", "--json").document
    assert [row["title"] for row in shown["own"]] == ["small"]
    (file,) = (cache / "evaluations").iterdir()
    for broken in (
        "",
        "[1]",
        '{"format": 2}',
        file.read_text().replace(f'"params": {result.params}', '"params": NaN'),
    ):
        file.write_text(broken)
        assert kept_results() == ()


def test_the_command_prints_the_same_in_three_forms(cli, cache: Path) -> None:
    document = cli("tradeoff", "--json").document
    table = list(csv.DictReader(io.StringIO(cli("tradeoff", "--csv").out)))
    assert [row["name"] for row in table] == [row["name"] for row in document["systems"]]
    assert table[2]["macs_10s"] == str(document["systems"][2]["macs_10s"])
    assert document["machine"] == machine()
    text = cli("tradeoff").out
    assert max(map(len, text.splitlines())) <= 80
    line = next(line for line in text.splitlines() if line.startswith("mn04"))
    assert line.split() == ["mn04", "EfficientAT", "0.432", "-", "130", "M", "*", "984", "k", "*"]
    assert "give --json or --csv" in cli("tradeoff", "--json", "--csv").complaint
    assert set(COSTS) == {"time", "macs", "params"}


def test_measuring_from_the_command_line(
    cli, cache: Path, narrow: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.tradeoff.measurable", lambda: (narrow,))
    row = {row["name"]: row for row in cli("tradeoff", "--measure", "--json").document["systems"]}[narrow]
    assert row["time_ms"] == measured()[narrow].median_ms
    assert row["front_time"]
