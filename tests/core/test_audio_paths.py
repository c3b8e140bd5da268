"""Opening by path: what is not a regular file, and systems that lack POSIX's flags."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from core.audio import load_clip
from core.errors import AudioError
from tests.core.recordings import header


def message_of(source: Any) -> str:
    with pytest.raises(AudioError) as error:
        load_clip(source)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_paths_without_a_recording(tmp_path: Path) -> None:
    assert "is a folder" in message_of(tmp_path)
    assert "does not exist" in message_of(tmp_path / "missing.wav")
    assert "cannot be opened" in message_of("a\0b.wav")
    assert "cannot be opened" in message_of("x" * 5_000)
    assert "does not exist" in message_of("")
    assert message_of(3) == "A int is not a recording. Give the bytes or the path of one."


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes have no path here")
def test_pipes_and_devices_are_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    assert "is not a regular file" in message_of(tmp_path / "pipe.wav")
    assert "is not a regular file" in message_of("/dev/zero")


def test_an_unreadable_file(tmp_path: Path) -> None:
    path = tmp_path / "locked.wav"
    path.write_bytes(header())
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    assert "cannot be read (permission denied)" in message_of(path)


# Windows, as far as it can be simulated: no O_NONBLOCK, text mode unless O_BINARY is given, no folder can be opened


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """``os`` as on Windows; the flags that files were opened with."""
    flags_given: list[int] = []
    binary, posix_open = 1 << 30, os.open

    def windows_open(path: Any, flags: int) -> int:
        flags_given.append(flags)
        if os.path.isdir(path):
            raise PermissionError(13, "Permission denied", path)
        return posix_open(path, flags & ~binary)

    monkeypatch.delattr(os, "O_NONBLOCK", raising=False)
    monkeypatch.setattr(os, "O_BINARY", binary, raising=False)
    monkeypatch.setattr(os, "open", windows_open)
    return flags_given


def test_windows_reads_files_as_binary(windows: list[int], tmp_path: Path) -> None:
    path = tmp_path / "tone.wav"
    path.write_bytes(header())
    assert load_clip(path).duration_s == pytest.approx(0.1)
    assert [flags & os.O_BINARY for flags in windows] == [os.O_BINARY]


def test_windows_says_of_a_folder_that_it_is_one(windows: list[int], tmp_path: Path) -> None:
    assert "is a folder" in message_of(tmp_path)
    assert len(windows) == 1


def test_windows_says_of_a_locked_file_that_it_is_locked(
    windows: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deny(path: Any, flags: int) -> int:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "open", deny)
    (tmp_path / "open in a recorder.wav").write_bytes(header())
    assert "cannot be read (permission denied)" in message_of(tmp_path / "open in a recorder.wav")
