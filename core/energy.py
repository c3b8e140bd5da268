"""Energy and CO2 of tagging: measured time × power × PUE × the grid's intensity. An estimate, whose factors are all stated and can be replaced."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")
"""Where Linux shows RAPL's counters, readable by root alone since kernel 5.10."""

CLIP_S = 10.0
"""Seconds of sound that the networks' times are measured on."""

YEAR_DAYS = 365


@dataclass(frozen=True)
class Factor:
    """A default, and where it is from."""

    value: float
    source: str


WATTS_A_THREAD = Factor(
    3.5,
    "a virtual processor at full load, average of AWS's processors in Cloud Carbon Footprint's coefficients (from SPECpower_ssj2008, as of 2026)",
)
PUE = Factor(
    1.56,
    "data centres' average power usage effectiveness, Uptime Institute, Global Data Center Survey 2024; 1 where nothing is cooled",
)
GRAMS_A_KWH = Factor(
    445.0,
    "world average of 2024, IEA, Electricity 2025, Emissions; countries differ by more than ten times: 56 in France, 713 in India (2023, Ember in Our World in Data)",
)


@dataclass(frozen=True)
class Estimate:
    """What a computation takes: energy at the meter in kWh, and CO2 in kg."""

    kwh: float
    kg_co2: float


def estimate(busy_s: float, watts: float, pue: float, grams_a_kwh: float) -> Estimate:
    """Energy and CO2 of a computation.

    Parameters
    ----------
    busy_s : float
        Seconds that the processor computes.
    watts : float
        Its power during that.
    pue : float
        Power of the whole building by that of its computers, 1 or more.
    grams_a_kwh : float
        CO2 of a kilowatt-hour.

    Examples
    --------
    >>> estimate(3600, watts=100, pue=1.5, grams_a_kwh=400)
    Estimate(kwh=0.15, kg_co2=0.06)
    """
    kwh = busy_s * watts * pue / 3.6e6
    return Estimate(kwh, kwh * grams_a_kwh / 1e3)


def sensor_clips(sensors: int, hours_a_day: float) -> float:
    """Clips of ten seconds that sensors record in a year of 365 days.

    Examples
    --------
    >>> sensor_clips(1, 24)
    3153600.0
    """
    return sensors * YEAR_DAYS * hours_a_day * 3600 / CLIP_S


class PackageMeter:
    """RAPL's energy counters of the processor packages, read when the ``with`` block begins and ends.

    Attributes
    ----------
    watts : float or None
        Mean power of all packages in between, whatever else ran on them included; None where a counter cannot be read.
    """

    def __init__(self, root: Path = POWERCAP) -> None:
        self.watts: float | None = None
        self._root = root

    def __enter__(self) -> PackageMeter:
        self._started, self._before = time.perf_counter(), self._read()
        return self

    def __exit__(self, *_error: object) -> None:
        after, elapsed_s = self._read(), time.perf_counter() - self._started
        if self._before and after.keys() == self._before.keys():
            # a counter begins again at 0 once it has reached its range
            used = [(count - self._before[zone][0]) % (top + 1) for zone, (count, top) in after.items()]
            self.watts = sum(used) / 1e6 / elapsed_s

    def _read(self) -> dict[str, tuple[int, int]]:
        """Zone -> microjoules and the counter's range; empty where one package cannot be read."""
        try:
            return {
                zone.name: (_number(zone / "energy_uj"), _number(zone / "max_energy_range_uj"))
                for zone in sorted(self._root.glob("intel-rapl:*"))  # AMD's processors, too
                if (zone / "name").read_text().startswith("package-")
            }
        except (OSError, ValueError):
            return {}


def _number(path: Path) -> int:
    return int(path.read_text())
