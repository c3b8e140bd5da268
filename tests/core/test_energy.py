"""Energy: figures recomputed by hand, and RAPL's counters as the kernel shows them."""

from __future__ import annotations

from pathlib import Path

import pytest

from core import energy
from core.energy import GRAMS_A_KWH, PUE, WATTS_A_THREAD, PackageMeter, estimate, sensor_clips


def test_a_thousand_sensors_for_a_year_by_hand() -> None:
    """31,536,000 s a year are 3,153,600 clips; of 0.1 s each on one thread 315,360,000 s for a thousand sensors.

    × 3.5 W = 1,103,760,000 J = 306.6 kWh; × 1.56 = 478.296 kWh; × 445 g = 212.84172 kg.
    """
    clips = sensor_clips(1000, 24)
    assert clips == 3_153_600_000
    year = estimate(0.1 * clips, WATTS_A_THREAD.value, PUE.value, GRAMS_A_KWH.value)
    assert year.kwh == pytest.approx(478.296)
    assert year.kg_co2 == pytest.approx(212.84172)


def test_every_factor_has_a_source_and_a_year() -> None:
    for factor in (WATTS_A_THREAD, PUE, GRAMS_A_KWH):
        assert "202" in factor.source


def zone(root: Path, name: str, called: str, energy_uj: str) -> Path:
    folder = root / name
    folder.mkdir()
    for file, text in (("name", called), ("energy_uj", energy_uj), ("max_energy_range_uj", "999999")):
        (folder / file).write_text(text + "\n")
    return folder


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two seconds between the two readings."""
    times = iter((10.0, 12.0))
    monkeypatch.setattr(energy.time, "perf_counter", lambda: next(times))


def test_packages_are_added_and_what_they_contain_is_not(tmp_path: Path, clock: None) -> None:
    first, second = (zone(tmp_path, f"intel-rapl:{i}", f"package-{i}", "100000") for i in (0, 1))
    core = zone(tmp_path, "intel-rapl:0:0", "core", "0")
    zone(tmp_path, "intel-rapl:2", "psys", "5")
    with PackageMeter(tmp_path) as meter:
        (first / "energy_uj").write_text("400000\n")
        (second / "energy_uj").write_text("0\n")  # began again: 900,000 to its end and to 0
        (core / "energy_uj").write_text("777777\n")
    assert meter.watts == pytest.approx((0.3 + 0.9) / 2)


@pytest.mark.parametrize("broken", ["no counters", "not readable", "no number"])
def test_power_is_not_guessed(tmp_path: Path, broken: str) -> None:
    if broken != "no counters":
        zone(tmp_path, "intel-rapl:0", "package-0", "1")
        unreadable = zone(tmp_path, "intel-rapl:1", "package-1", "?")
        if broken == "not readable":
            (unreadable / "energy_uj").unlink()
            (unreadable / "energy_uj").mkdir()  # a folder cannot be read by root either
    with PackageMeter(tmp_path) as meter:
        pass
    assert meter.watts is None
