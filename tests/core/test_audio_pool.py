"""The decoder's processes: what they may take, what happens when one dies or hangs, and that nobody else notices."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from core.audio import POOL, SAMPLE_RATE, load_clip, open_clip, pool
from core.audio.facts import Job
from core.audio.pool import Decoding
from core.errors import AudioError
from tests.core.recordings import muxed, tone, written

linux = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="limits of memory are Linux's")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def fresh_workers() -> Iterator[None]:
    """Every test begins and ends without a worker."""
    POOL.close()
    yield
    POOL.close()


def decoding(data: bytes) -> Decoding:
    return Decoding(io.BytesIO(data), Job(name="x", suffix="", size=len(data), channel=0, max_seconds=None))


def worker_that(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    """The next workers run these lines in place of the decoder of a recording."""
    body = "\n    ".join(lines)
    boot = (
        "import sys; sys.path.insert(0, sys.argv[1])\nfrom core.audio import worker\n"
        f"def decode(file, job, limits, sink):\n    {body}\nworker._decode = decode\nworker.main()"
    )
    monkeypatch.setattr(pool, "_BOOT", boot)


_HIDDEN = {
    # Windows: neither the module nor the calls; the clock of the caller is the only limit
    "win32": "sys.modules['resource'] = None; del os.pread, os.register_at_fork, os.fork",
    # macOS: no /proc, and a limit of memory that is not enforced: the worker looks at its own peak
    "darwin": "real = os.open\ndef without_proc(path, *rest):\n    if str(path).startswith('/proc'): raise FileNotFoundError(path)\n"
    "    return real(path, *rest)\nos.open = without_proc",
}


def system_is(monkeypatch: pytest.MonkeyPatch, system: str) -> None:
    """The next workers lack what another system lacks."""
    monkeypatch.setattr(pool, "_BOOT", f"import os, sys\n{_HIDDEN[system]}\n{pool._BOOT}")


@pytest.mark.parametrize("system", ["win32", "darwin"])
def test_a_worker_decodes_on_other_systems(system: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = muxed(tone(44_100), 44_100, "ipod", "aac")
    expected = load_clip(data).waveform
    POOL.close()
    system_is(monkeypatch, system)
    np.testing.assert_array_equal(load_clip(data).waveform, expected)


def test_the_clock_ends_a_worker_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    worker_that(monkeypatch, "while True: pass")
    system_is(monkeypatch, "win32")
    monkeypatch.setattr(pool, "WALL_S", 0.5)
    with pytest.raises(AudioError, match="takes longer to decode than any recording of its length"):
        load_clip(b"x")


@linux
def test_a_worker_looks_at_its_own_memory_on_macos(monkeypatch: pytest.MonkeyPatch) -> None:
    more = "peak = module._peak_bytes() + (250 << 20); module._peak_bytes = lambda: peak"  # Linux's peak begins with the parent's
    worker_that(monkeypatch, "import core.sandbox.limits as module", more, "limits.check_memory()")
    system_is(monkeypatch, "darwin")
    with pytest.raises(AudioError, match="needs more memory to decode than any recording of its size"):
        load_clip(b"x")


def test_one_worker_decodes_one_recording_after_the_other() -> None:
    assert POOL.idle_pid() is None
    load_clip(written(tone(44_100), 44_100, "WAV"))
    first = POOL.idle_pid()
    assert first is not None
    for data in (b"no recording", muxed(tone(44_100), 44_100, "ipod", "aac")):
        with contextlib.suppress(AudioError):
            load_clip(data)
    assert POOL.idle_pid() == first


def test_a_worker_that_dies_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    worker_that(monkeypatch, "import os, signal", "os.kill(os.getpid(), signal.SIGSEGV)")
    data = written(tone(44_100), 44_100, "WAV")
    with pytest.raises(
        AudioError, match=r'"a\.wav" is damaged so that the process .* \(signal 11\)\. Convert it'
    ):
        load_clip(data, name="a.wav")
    assert POOL.idle_pid() is None
    monkeypatch.undo()
    assert load_clip(data).duration_s == 2.0


def test_a_worker_that_hangs_is_ended_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    worker_that(monkeypatch, "import time", "time.sleep(100)")
    monkeypatch.setattr(pool, "WALL_S", 0.3)
    started = time.monotonic()
    with pytest.raises(AudioError, match="takes longer to decode than any recording of its length"):
        load_clip(b"x")
    assert time.monotonic() - started < 20


@linux
def test_a_worker_that_computes_for_too_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    worker_that(monkeypatch, "worker.CPU_S = 0", "limits.allow(0.0, 0)", "while True: pass")
    with pytest.raises(AudioError, match="takes longer to decode than any recording of its length"):
        load_clip(b"x")


@linux
@pytest.mark.parametrize("megabytes", [100, 250])
def test_a_worker_has_192_mb_for_a_recording(megabytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    worker_that(monkeypatch, f"bytearray({megabytes} << 20)", "raise worker.AudioError('it fits')")
    said = "it fits" if megabytes == 100 else "needs more memory to decode than any recording of its size"
    with pytest.raises(AudioError, match=said):
        load_clip(b"x")


@linux
@pytest.mark.parametrize("attempt", ["open('/etc/hostname')", "import socket; socket.socket()", "os.pipe()"])
def test_a_worker_opens_nothing(attempt: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = (
        "import os",
        f"try: {attempt}",
        "except (OSError, ImportError) as error: raise worker.AudioError('refused')",
    )
    worker_that(monkeypatch, *lines, "raise worker.AudioError('opened')")
    with pytest.raises(AudioError, match="refused"):
        load_clip(b"x")


def test_a_worker_that_talks_nonsense_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    worker_that(
        monkeypatch,
        "sink.write(b'B' + b'\\xff' * 4 + b'x' * 100); sink.flush()",
        "import time; time.sleep(100)",
    )
    with pytest.raises(AudioError, match="broke off"):
        load_clip(b"x")


def test_an_unread_recording_is_given_up_and_its_worker_stays() -> None:
    data = written(tone(44_100, duration_s=30), 44_100, "FLAC")
    blocks = decoding(data).blocks()
    assert len(next(blocks)) > 0
    blocks.close()
    pid = POOL.idle_pid()
    assert pid is not None
    assert load_clip(data).samples == 30 * SAMPLE_RATE
    assert POOL.idle_pid() == pid


def test_progress_and_giving_up() -> None:
    data = written(tone(44_100, duration_s=30), 44_100, "FLAC")
    shares: list[float] = []
    open_clip(data, name="x", on_progress=shares.append)
    assert shares == sorted(shares)
    assert len(shares) > 5
    assert shares[-1] == pytest.approx(1.0, abs=0.01)

    def give_up(share: float) -> None:
        if share > 0.3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_clip(data, name="x", on_progress=give_up)
    assert POOL.idle_pid() is not None


def test_a_clip_of_several_passes_reads_from_any_block() -> None:
    clip = open_clip(written(tone(8_000, duration_s=70), 8_000, "FLAC"), name="x")
    first, second = (next(clip.segments([(start, start + 5)])) for start in (0, 2_000_000))
    assert (len(first), len(second)) == (5, 5)


def test_more_callers_than_workers_wait_for_their_turn() -> None:
    data = written(tone(44_100), 44_100, "WAV")
    lengths: list[int] = []
    threads = [threading.Thread(target=lambda: lengths.append(load_clip(data).samples)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert lengths == [2 * SAMPLE_RATE] * 6
    assert len(POOL._idle) == 1


def test_a_caller_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "TURN_S", 0.1)
    monkeypatch.setattr(pool, "MAX_WORKERS", 0)
    with pytest.raises(AudioError, match="other recordings have kept the decoder busy"):
        load_clip(b"x")


def test_a_system_that_starts_no_process_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(AudioError, match="the decoder's process does not start"):
        load_clip(b"x")
    assert POOL._busy == 0


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_worker_ends_with_its_program(how: signal.Signals) -> None:
    code = (
        "import sys, time; from core.audio import POOL; from core.audio.facts import Job; import tests.core.test_audio_pool as t\n"
        "blocks = t.decoding(t.written(t.tone(8_000, 60), 8_000, 'FLAC')).blocks(); next(blocks); POOL.warm()\n"
        "print(POOL._idle[0].pid if POOL._idle else 0, flush=True)\n"
        "import subprocess; print(*subprocess.run(['ps', '-o', 'pid=', '--ppid', str(__import__('os').getpid())], capture_output=True, text=True).stdout.split(), flush=True)\n"
        "time.sleep(60)"
    )
    program = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT
    )
    assert program.stdout is not None
    program.stdout.readline()
    children = [int(word) for word in program.stdout.readline().split()]
    os.kill(program.pid, how)
    program.wait(20)
    deadline = time.monotonic() + 20
    while (
        any(Path(f"/proc/{pid}").exists() and _is_decoder(pid) for pid in children)
        and time.monotonic() < deadline
    ):
        time.sleep(0.05)
    assert not any(_is_decoder(pid) for pid in children)


def _is_decoder(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return b"core.audio.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def test_what_a_worker_imports_is_small() -> None:
    code = "import core.audio.worker, sys; print([name for name in ('torch', 'streamlit', 'scipy', 'pandas') if name in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert said.stdout.strip() == "[]"


def test_this_process_loads_no_decoder() -> None:
    """The 60 MB of FFmpeg's libraries are the worker's."""
    code = "from core.audio import encode_wav, load_clip; import numpy, sys; load_clip(encode_wav(numpy.ones(99))); print('av' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert said.stdout.strip() == "False"


def test_samples_are_the_same_whatever_the_pieces() -> None:
    data = written(tone(44_100, duration_s=5), 44_100, "WAV", "FLOAT")
    joined = np.concatenate(list(decoding(data).blocks()))
    np.testing.assert_array_equal(joined, load_clip(data).waveform)
