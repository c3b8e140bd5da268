"""Whether waiting threads sleep: OpenMP's own account of its settings, in fresh processes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from core.runtime.process import VARIABLE


def said(given: dict[str, str]) -> str:
    """What torch's OpenMP says it was told, after our programs' first line."""
    code = "from core.runtime.process import set_passive_wait_policy as f; f(); import torch; torch.zeros(9).sum()"
    environment = {key: value for key, value in os.environ.items() if key != VARIABLE}
    environment |= {"OMP_DISPLAY_ENV": "true"} | given
    ran = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    lines = [line for line in ran.stderr.splitlines() if VARIABLE in line]
    if not lines:
        pytest.skip("this build of torch has an OpenMP that does not tell its settings")
    return lines[0].upper()


def test_waiting_threads_sleep_unless_the_environment_says_otherwise() -> None:
    assert "PASSIVE" in said({})
    assert "ACTIVE" in said({VARIABLE: "active"})
