"""Settings of the process: OpenMP's wait policy, by its own account in fresh processes, the heap arenas, and memory returned."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from core.runtime import memory
from core.runtime.process import VARIABLE, configure_heap, set_passive_wait_policy


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
        ("linux", "mallopt", None, [(-8, 1), (-3, 1_048_576)]),
        ("linux", "mallopt", "4", [(-3, 1_048_576)]),
        ("linux", "another", None, []),  # musl has no mallopt
        ("darwin", "mallopt", None, []),
        ("win32", "mallopt", None, []),
    ],
)
def test_the_heap_is_configured_with_glibc_unless_the_environment_chooses(
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
    monkeypatch.delenv("MALLOC_MMAP_THRESHOLD_", raising=False)
    if arenas is not None:
        monkeypatch.setenv("MALLOC_ARENA_MAX", arenas)
    configure_heap()
    assert library.calls == calls


def test_a_large_array_is_returned_to_the_system_whatever_was_freed_before_it() -> None:
    code = """
import ctypes, numpy as np
from core.runtime.process import configure_heap
class Info(ctypes.Structure):  # mallinfo2(3)
    _fields_ = [(name, ctypes.c_size_t) for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()]
libc = ctypes.CDLL(None)
if not hasattr(libc, "mallinfo2"):
    raise SystemExit(77)
libc.mallinfo2.restype = Info
configure_heap()
np.ones(5_000_000, np.float32)  # 20 MB, freed at once: by default arrays of up to 20 MB would now come from the heap
before = libc.mallinfo2().hblks
kept = np.ones(500_000, np.float32)  # 2 MB
raise SystemExit(libc.mallinfo2().hblks - before != 1)
"""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("MALLOC_")}
    status = subprocess.run([sys.executable, "-c", code], env=inherited, check=False).returncode
    if status == 77:
        pytest.skip("the C library has no mallinfo2, or there is no glibc")
    assert status == 0


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


SMAPS = """\
7f0000000000-7f0000003000 r-xp 00000000 08:01 7 /usr/lib/liblarge.so
Rss:                  12 kB
Anonymous:             0 kB
VmFlags: rd ex mr mw me
7f0000003000-7f0000005000 r--p 00003000 08:01 7 /usr/lib/liblarge.so.1.2
Rss:                   8 kB
Anonymous:             4 kB
7f0000005000-7f0000006000 rw-p 00005000 08:01 7 /usr/lib/liblarge.so
Rss:                   4 kB
Anonymous:             0 kB
7f0000006000-7f0000007000 r--p 00000000 08:01 8 /usr/lib/libother.so.1.2
Rss:                   4 kB
Anonymous:             0 kB
7f0000007000-7f0000008000 r--p 00000000 08:01 9 /srv/weights.bin
Rss:                   4 kB
Anonymous:             0 kB
"""


def test_of_a_librarys_mappings_only_what_was_never_written_is_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not its relocated tables, which are read-only by then, nor its variables, nor other files."""
    library = Library("madvise")
    monkeypatch.setattr(memory, "_libc", lambda: library)
    monkeypatch.setattr(memory.Path, "read_text", lambda path: SMAPS)
    memory.drop_library_pages()
    assert library.calls == [(0x7F0000000000, 0x3000, 4), (0x7F0000006000, 0x1000, 4)]


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_libraries_go_on_working_without_their_pages() -> None:
    """A regular expression engine, arithmetic and compression from libraries whose pages were dropped."""
    code = (
        "import torch, zlib\n"
        "from pathlib import Path\n"
        "from core.runtime.memory import drop_library_pages\n"
        "resident = lambda: int(Path('/proc/self/statm').read_text().split()[1])\n"
        "before = resident()\n"
        "drop_library_pages()\n"
        "assert resident() < 0.85 * before, (before, resident())\n"
        "assert float(torch.linalg.det(torch.eye(5) * 2)) == 32\n"
        "assert zlib.decompress(zlib.compress(b'x' * 999)) == b'x' * 999\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_each_layers_weights_leave_memory_once_it_has_run(tmp_path: Path) -> None:
    """Four layers of 4 MB each, mapped from a file."""
    path = tmp_path / "weights"
    np.ones((4, 1024, 1024), np.float32).tofile(path)
    mapped = np.memmap(path, np.float32, "c", shape=(4, 1024, 1024))
    layers = torch.nn.Sequential(*(torch.nn.Linear(1024, 1024, bias=False) for _ in range(4)))
    for layer, weights in zip(layers, mapped, strict=True):
        layer.weight = torch.nn.Parameter(torch.from_numpy(weights))
    seen = []
    for layer in layers:
        layer.register_forward_hook(lambda *_: seen.append(_resident(path)))
    with memory.weights_paged_out_after_use(layers), torch.inference_mode():
        assert torch.equal(layers(torch.ones(1, 1024)), torch.full((1, 1024), 1024.0**4))
    assert max(seen) < 9_000  # the layer that has just run and what the system read ahead of the next
    assert _resident(path) < 1_000


def _resident(path: Path) -> int:
    """Kilobytes of a mapped file in this process's memory."""
    entry = Path("/proc/self/smaps").read_text().partition(str(path))[2]
    return int(entry.partition("Rss:")[2].split()[0])
