"""What the page's tests share: real files made here, and the page itself under Streamlit's own test harness."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile
from streamlit.components.v2 import manifest_scanner
from streamlit.testing.v1 import AppTest

from core import checkpoints
from core.tagging import EMBEDDED_PAIR

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session", autouse=True)
def components_found_once() -> Iterator[None]:
    """AppTest searches all installed packages for components, for each page anew: a quarter of a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            manifest_scanner, "scan_component_manifests", cache(manifest_scanner.scan_component_manifests)
        )
        yield


@pytest.fixture(scope="session")
def embedded() -> None:
    """The embedded pair, without which the page has nothing to compare with."""
    for name in EMBEDDED_PAIR:
        if not checkpoints.path_of(checkpoints.entry(name)).is_file():
            pytest.skip(f"{name} is not in checkpoints/")


@pytest.fixture(scope="session")
def wav() -> Callable[..., bytes]:
    """Maker of WAV files of noise: wav(seconds, rate=32000, channels=1, seed=0)."""

    def make(
        seconds: float, rate: int = 32_000, channels: int = 1, seed: int = 0, level: float = 0.1
    ) -> bytes:
        noise = level * np.random.default_rng(seed).standard_normal((round(seconds * rate), channels))
        out = io.BytesIO()
        soundfile.write(out, noise, rate, format="WAV", subtype="PCM_16")
        return out.getvalue()

    return make


@pytest.fixture
def page(embedded: None) -> AppTest:
    """The Compare page, run once with the example that it opens with."""
    return AppTest.from_file(str(ROOT / "dashboard" / "app.py"), default_timeout=60).run()
