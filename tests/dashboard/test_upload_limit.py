"""The largest upload: by the memory there is, whatever starts the server, and the operator's own setting wins."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dashboard.server.upload_limit import limit_mb, what_fits

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("memory", "megabytes"),
    [(2**29, 50), (3 * 2**29 - 1, 50), (3 * 2**29, 200), (2**34, 200), (None, 200)],
)
def test_the_limit_changes_at_one_and_a_half_gigabytes(memory: int | None, megabytes: int) -> None:
    assert limit_mb(memory) == megabytes


@pytest.mark.parametrize(
    ("megabytes", "said"),
    [
        (
            50,
            "about 55 minutes of MP3 or M4A at 128 kbit/s, 5 of 16-bit stereo, or 3 of 24-bit",
        ),  # 52,428,800 / 16,000 / 60 is 54.6
        (81, "about 88 minutes of MP3"),  # 84,934,656 / 16,000 / 60 is 88.47
        (
            200,
            "about 90 minutes of MP3 or M4A at 128 kbit/s, 20 of 16-bit stereo, or 12 of 24-bit",
        ),  # which is the longest
    ],
)
def test_what_fits(megabytes: int, said: str) -> None:
    assert said in what_fits(megabytes)


@pytest.mark.parametrize(("given", "megabytes"), [({}, None), ({"server.maxUploadSize": 7}, 7)])
def test_the_server_chooses_when_its_program_is_read(given: dict[str, int], megabytes: int | None) -> None:
    """``streamlit run``, ``pannscope serve`` and scripts/serve all read dashboard/app.py before they listen."""
    code = (
        f"from streamlit import config; config.get_config_options(options_from_flags={given})\n"
        "import dashboard.app; from core.runtime.machine import total_memory\n"
        "from dashboard.server.upload_limit import limit_mb\n"
        "print(config.get_option('server.maxUploadSize'), limit_mb(total_memory()))"
    )
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    chosen, by_memory = map(int, said.stdout.split())
    assert chosen == (megabytes or by_memory)
