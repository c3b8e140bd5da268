"""LICENCES.md names every package that is asked for, and every library that PyAV's wheel brings."""

from __future__ import annotations

import re
from pathlib import Path

import av
import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "LICENCES.md").read_text(encoding="utf-8")
NAMES = {
    "libSvtAv1Enc": "SVT-AV1",
    "libdav1d": "dav1d",
    "libopus": "Opus",
    "libvpl": "VPL",
    "libvpx": "libvpx",
}
NAMES |= {f"libopencore-amr{band}": "opencore-amr" for band in ("nb", "wb")}
NAMES |= {f"libxcb-{part}": "libxcb" for part in ("shape", "shm", "xfixes")}


def test_every_requirement_is_named() -> None:
    pinned = re.findall(
        r"^([\w.-]+)==", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert len(pinned) > 10
    assert [name for name in pinned if not re.search(rf"\b{re.escape(name)}\b", TEXT)] == []


def test_every_library_of_the_ffmpeg_wheel_is_named() -> None:
    folder = Path(av.__file__).parents[1] / "av.libs"
    if not folder.is_dir():
        pytest.skip("PyAV is not installed from a Linux wheel")
    found = {re.sub(r"(-[0-9a-f]{8})?\.so.*", "", path.name) for path in folder.iterdir()}
    assert {name for name in found if NAMES.get(name, name) not in TEXT} == set()
