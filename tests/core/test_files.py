"""Files are written whole or not at all, on systems that replace open files and on those that do not."""

from __future__ import annotations

import os
import stat
import sys
import threading
from pathlib import Path

import pytest

from core import files
from core.errors import ExportError, PannscopeError
from core.files import atomic_write, check_output, file_sha256, move_into_place, unwritable


def test_the_target_appears_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "plan.json"
    with atomic_write(target) as draft:
        assert draft.parent == tmp_path
        draft.write_text("new")
        assert not target.exists()
    assert target.read_text() == "new"
    assert os.listdir(tmp_path) == ["plan.json"]


@pytest.mark.parametrize("error", [OSError("full"), ValueError("a bug"), KeyboardInterrupt()])
def test_after_a_failure_the_old_file_stands_alone(tmp_path: Path, error: BaseException) -> None:
    target = tmp_path / "plan.json"
    target.write_text("old")

    def fail() -> None:
        with atomic_write(target) as draft:
            draft.write_text("half")
            raise error

    with pytest.raises(type(error)):
        fail()
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["plan.json"]


def test_two_writers_of_one_process_do_not_meet(tmp_path: Path) -> None:
    target = tmp_path / "plan.json"
    with atomic_write(target) as first, atomic_write(target) as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")
    assert target.read_text() == "first"  # which ended last
    assert os.listdir(tmp_path) == ["plan.json"]


def test_a_name_of_the_greatest_length_has_a_draft(tmp_path: Path) -> None:
    target = tmp_path / ("x" * 250 + ".json")
    with atomic_write(target) as draft:
        draft.write_text("{}")
    assert target.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="no permissions of this kind")
@pytest.mark.parametrize(("mode", "given"), [(0o666, 0o644), (0o600, 0o600)])
def test_permissions_are_the_processs_or_the_users_alone(tmp_path: Path, mode: int, given: int) -> None:
    before = os.umask(0o022)
    try:
        with atomic_write(tmp_path / "a", mode) as draft:
            draft.unlink()  # as a library does that moves a private file of its own there
            draft.touch(0o400)
            draft.chmod(0o600)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == given


def test_a_missing_folder_and_a_folder_in_the_way(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "no" / "a"):
        pass
    (tmp_path / "a").mkdir()
    with pytest.raises(OSError), atomic_write(tmp_path / "a"):  # noqa: PT011 (its class depends on the system)
        pass
    assert os.listdir(tmp_path) == ["a"]


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_WINDOWS", True)
    monkeypatch.setattr(files, "_REPLACE_PAUSE_S", 0.001)


def _refusing(monkeypatch: pytest.MonkeyPatch, times: int) -> list[int]:
    """``os.replace`` as on Windows while the target is open: refused so many times."""
    tries: list[int] = []
    replace = os.replace

    def refuse(source: Path, target: Path) -> None:
        tries.append(1)
        if len(tries) <= times:
            raise PermissionError(13, "Access is denied")
        replace(source, target)

    monkeypatch.setattr(os, "replace", refuse)
    return tries


def test_on_windows_a_file_that_is_open_for_a_moment_is_waited_for(windows, monkeypatch, tmp_path) -> None:
    tries = _refusing(monkeypatch, 5)
    with atomic_write(tmp_path / "a") as draft:
        draft.write_text("new")
    assert (tmp_path / "a").read_text() == "new"
    assert len(tries) == 6


def test_on_windows_a_file_that_stays_open_is_an_error(windows, monkeypatch, tmp_path) -> None:
    tries = _refusing(monkeypatch, 6)
    with pytest.raises(PermissionError), atomic_write(tmp_path / "a"):
        pass
    assert (len(tries), os.listdir(tmp_path)) == (6, [])


def test_elsewhere_a_refusal_is_final(monkeypatch, tmp_path) -> None:
    tries = _refusing(monkeypatch, 1)
    with pytest.raises(PermissionError), atomic_write(tmp_path / "a"):
        pass
    assert len(tries) == 1


def test_readers_never_see_a_part(tmp_path: Path) -> None:
    target, size = tmp_path / "a", 300_000
    target.write_bytes(b"0" * size)
    seen: set[int] = set()
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.add(len(target.read_bytes()))

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(20):
        with atomic_write(target) as draft:
            draft.write_bytes(b"%d" % (number % 10) * size)
    done.set()
    reader.join()
    assert seen == {size}


def test_a_finished_draft_is_moved(tmp_path: Path) -> None:
    (tmp_path / "draft").write_text("new")
    (tmp_path / "target").write_text("old")
    move_into_place(tmp_path / "draft", tmp_path / "target")
    assert (os.listdir(tmp_path), (tmp_path / "target").read_text()) == (["target"], "new")


def test_messages_say_why() -> None:
    assert unwritable(Path("a"), OSError(28, "No space left on device")) == (
        "a cannot be written: No space left on device; check its folder and the free space."
    )
    assert "another library's reason" in unwritable(Path("a"), ValueError("another library's reason"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.txt", r"^'a\.txt' has to end in \.json: name it a\.json\.$"),
        ("a", r"^'a' has to end in \.json: name it a\.json\.$"),
        ("no/a.json", r"^The folder .*no does not exist; make it first\.$"),
        ("folder.json", "cannot be written; give a file in a folder you may write to"),
        ("there.json", "exists already; choose another name, or replace it with --force"),
    ],
)
def test_outputs_are_checked_before_work_is_done(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "there.json").touch()
    with pytest.raises(ExportError, match=message):
        check_output(tmp_path / name, ".json", force=False, error=ExportError)


def test_outputs_that_may_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "there.json").touch()
    check_output(tmp_path / "new.json", ".json", force=False, error=PannscopeError)
    check_output(tmp_path / "there.json", ".json", force=True, error=PannscopeError)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(PannscopeError, match="cannot be written"):
        check_output(tmp_path / "new.json", ".json", force=True, error=PannscopeError)


def test_sha256_is_the_standards(tmp_path: Path) -> None:
    """FIPS 180-2, appendix B.1."""
    (tmp_path / "abc").write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert file_sha256(tmp_path / "abc") == expected
