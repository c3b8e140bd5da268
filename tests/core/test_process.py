"""Settings of the process: OpenMP's wait policy, by its own account in fresh processes, the heap arenas, and memory returned."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys

import pytest
import torch

from core.runtime import memory
from core.runtime.process import VARIABLE, set_passive_wait_policy, use_single_heap_arena


def reported(environment: dict[str, str]) -> str:
    """The wait policy that torch's OpenMP reports, in a process that begins as our programs do."""
    code = "from core.runtime.process import set_passive_wait_policy as f; f(); import torch; torch.zeros(9).sum()"
    inherited = {key: value for key, value in os.environ.items() if key != VARIABLE}
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env=inherited | {"OMP_DISPLAY_ENV": "true"} | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line for line in ran.stderr.splitlines() if VARIABLE in line]
    if not lines:
        pytest.skip("this build of torch has an OpenMP that does not report its settings")
    return lines[0].upper()


def test_waiting_threads_sleep_unless_the_environment_chooses() -> None:
    assert "PASSIVE" in reported({})
    assert "ACTIVE" in reported({VARIABLE: "active"})


class Library:
    """Stands in for the C library, and records the calls of one function."""

    def __init__(self, function: str) -> None:
        self.calls: list[tuple[int, ...]] = []
        setattr(self, function, self._record)

    def _record(self, *arguments: object) -> int:
        self.calls.append(tuple(getattr(argument, "value", argument) for argument in arguments))
        return 1

    def malloc_trim(self, pad: int) -> int:
        return pad


@pytest.mark.parametrize(
    ("system", "function", "arenas", "calls"),
    [
        ("linux", "mallopt", None, [(-8, 1)]),
        ("linux", "mallopt", "4", []),
        ("linux", "another", None, []),  # musl has no mallopt
        ("darwin", "mallopt", None, []),
        ("win32", "mallopt", None, []),
    ],
)
def test_one_heap_arena_with_glibc_unless_the_environment_chooses(
    system: str,
    function: str,
    arenas: str | None,
    calls: list[tuple[int, ...]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    library = Library(function)
    monkeypatch.setattr("core.runtime.process.ctypes.CDLL", lambda name: library)
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.delenv("MALLOC_ARENA_MAX", raising=False)
    if arenas is not None:
        monkeypatch.setenv("MALLOC_ARENA_MAX", arenas)
    use_single_heap_arena()
    assert library.calls == calls


def test_whole_pages_inside_the_weights_are_paged_out(monkeypatch: pytest.MonkeyPatch) -> None:
    library = Library("madvise")
    monkeypatch.setattr(memory, "_libc", lambda: library)
    module = torch.nn.Linear(3000, 7)
    memory.page_out_weights(module)
    ((start, size, advice),) = library.calls  # the biases fill no page
    first, last = module.weight.data_ptr(), module.weight.data_ptr() + module.weight.nbytes
    assert advice == 21  # MADV_PAGEOUT
    assert start % mmap.PAGESIZE == size % mmap.PAGESIZE == 0
    assert first <= start < first + mmap.PAGESIZE
    assert last - mmap.PAGESIZE < start + size <= last


def test_the_wait_policy_is_set_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "active")
    set_passive_wait_policy()
    assert os.environ[VARIABLE] == "active"
    monkeypatch.delenv(VARIABLE)
    set_passive_wait_policy()
    assert os.environ[VARIABLE] == "passive"


def test_a_librarys_mappings_are_paged_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of the three mappings are its own: three pages, and one."""
    library = Library("madvise")
    monkeypatch.setattr(memory, "_libc", lambda: library)
    maps = (
        "7f0000000000-7f0000003000 r-xp 00000000 08:01 7 /usr/lib/liblarge.so\n"
        "7f0000003000-7f0000004000 rw-p 00003000 08:01 7 /usr/lib/liblarge.so\n"
        "7f0000005000-7f0000006000 r-xp 00000000 08:01 8 /usr/lib/libother.so\n"
    )
    monkeypatch.setattr(memory.Path, "read_text", lambda path: maps)
    memory.page_out_library("liblarge")
    assert library.calls == [(0x7F0000000000, 0x3000, 21), (0x7F0000003000, 0x1000, 21)]
