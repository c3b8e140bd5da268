"""Compiled kernels are kept for the next process, and nothing that was damaged or that others could write is ever run."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from core.runtime.winograd.cache import cached_code

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def here(monkeypatch, tmp_path) -> Path:
    monkeypatch.setenv("PANNSCOPE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "winograd"


def never() -> bytes:
    raise AssertionError("made again")


def test_what_was_made_once_is_kept(here):
    assert cached_code(b"key", lambda: b"code") == b"code"
    assert cached_code(b"key", never) == b"code"
    assert cached_code(b"another key", lambda: b"other") == b"other"
    assert [path.suffix for path in here.iterdir()] == [".o", ".o"]  # nothing half-written stays


def test_what_was_damaged_is_made_again(here):
    cached_code(b"key", lambda: b"code" * 100)
    (path,) = here.iterdir()
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole[:10], b"", whole[:-1] + b"?"):
        path.write_bytes(damaged)
        assert cached_code(b"key", lambda: b"anew") == b"anew"
        assert cached_code(b"key", never) == b"anew"


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="no modes of files here")
@pytest.mark.parametrize("which", ["file", "folder"])
@pytest.mark.parametrize("mode", [0o777, 0o720, 0o702])
def test_what_others_could_have_written_is_not_run(here, which, mode):
    cached_code(b"key", lambda: b"code")
    (path,) = here.iterdir()
    (path if which == "file" else here).chmod(mode)
    assert cached_code(b"key", lambda: b"anew") == b"anew"


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="no owners of files here")
@pytest.mark.parametrize("which", ["file", "folder"])
def test_what_belongs_to_another_user_is_not_run(here, which, monkeypatch):
    cached_code(b"key", lambda: b"code")
    theirs = next(here.iterdir()) if which == "file" else here
    true_stat = Path.stat

    def of_another(self: Path, **options: bool) -> os.stat_result:
        found = true_stat(self, **options)
        return os.stat_result((*found[:4], 12_345, *found[5:])) if self == theirs else found

    monkeypatch.setattr(Path, "stat", of_another)
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    assert cached_code(b"key", lambda: b"anew") == b"anew"


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="no modes of files here")
def test_it_is_the_users_alone_whatever_the_umask(here):
    before = os.umask(0)
    try:
        cached_code(b"key", lambda: b"code")
    finally:
        os.umask(before)
    (path,) = here.iterdir()
    assert [stat.S_IMODE(of.stat().st_mode) for of in (here, path)] == [0o700, 0o600]
    assert cached_code(b"key", never) == b"code"


def test_it_stays_small(here):
    for number in range(12):
        cached_code(b"%d" % number, lambda: b"code")
        (sorted(here.iterdir(), key=lambda path: path.stat().st_mtime)[-1]).touch()
    assert len(list(here.iterdir())) == 8
    assert cached_code(b"11", never) == b"code"


def test_without_a_folder_it_is_made_each_time(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("PANNSCOPE_CACHE", str(tmp_path / "file" / "cache"))
    assert cached_code(b"key", lambda: b"code") == b"code"
    assert cached_code(b"key", lambda: b"anew") == b"anew"


def test_two_processes_at_once_answer_alike_and_leave_one_file(tmp_path):
    code = (
        "import torch; from core import load_tagger; from core.examples import synthesize;"
        "t = load_tagger('demo-epanns', runtime='winograd'); print(t.probabilities(synthesize('siren')).tobytes().hex())"
    )
    environment = os.environ | {"PANNSCOPE_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    answers = [process.communicate()[0] for process in started]
    assert [process.returncode for process in started] == [0, 0]
    assert answers[0] == answers[1] != ""
    assert len(list((tmp_path / "cache" / "winograd").iterdir())) == 1
