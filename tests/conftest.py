"""What several test modules need: the shared recordings beside the checkout, and a steady number of threads."""

from __future__ import annotations

import csv
import gc
import os
from pathlib import Path

import pytest

from core.runtime.process import set_passive_wait_policy

ROOT = Path(__file__).resolve().parent.parent


def pytest_configure() -> None:
    """Two threads for torch, as the programs use them: a reduction's result then does not depend on the machine's core count."""
    set_passive_wait_policy()
    import torch

    torch.set_num_threads(2)


def pytest_collection_finish() -> None:
    """Streamlit collects garbage after every run of a page; the server too keeps what was imported out of it."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the browser tests, for ``-m "not browser"``."""
    for item in items:
        if item.path.is_relative_to(ROOT / "tests" / "browser"):
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with real recordings, facts and golden numbers: ../shared, or the one that PANNSCOPE_SHARED names."""
    folder = Path(os.environ.get("PANNSCOPE_SHARED") or ROOT.parent / "shared")
    if not (folder / "clips" / "meta.csv").is_file():
        pytest.skip(f"no shared recordings and facts in {folder}: name their folder in PANNSCOPE_SHARED")
    return folder


@pytest.fixture(scope="session")
def clips_manifest(shared: Path) -> list[dict[str, str]]:
    """The rows of the shared recordings' meta.csv; each one's file is in `shared / "clips" / "audio"`."""
    with open(shared / "clips" / "meta.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
