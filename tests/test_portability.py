"""Windows and macOS, simulated in processes of their own: the modules and calls that they lack are taken away, and Pannscope still works.

The libraries are imported before (they have builds for these systems); every module of ``core`` and ``dashboard`` is imported after.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

PROGRAM = r"""
import ctypes, importlib, os, pathlib, signal, sys
from pathlib import Path

system, scratch = sys.argv[1], Path(sys.argv[2])
MODULES = [
    ".".join(path.with_suffix("").parts).removesuffix(".__init__")
    for folder in ("core", "dashboard", "pannscope")
    for path in sorted(Path(folder).rglob("*.py"))
    if path.stem not in ("__main__", "page", "app") and "data" not in path.parts  # pages run when they are imported
]
assert len(MODULES) > 120
for name in MODULES:
    importlib.import_module(name)
for name in [name for name in sys.modules if name.partition(".")[0] in ("core", "dashboard", "pannscope")]:
    del sys.modules[name]

LACKING = {
    "win32": {
        "modules": "fcntl grp posix pty pwd readline resource syslog termios tty",
        "os": "EX_OK O_DIRECTORY O_NONBLOCK O_NOFOLLOW chown fchmod fork forkpty geteuid getgid getloadavg getpgid getuid killpg "
        "mkfifo nice pread pwrite posix_fadvise posix_fallocate posix_spawn register_at_fork sched_getaffinity sched_setaffinity "
        "setpgid setsid sysconf uname wait4 memfd_create sendfile statvfs",
        "signal": "SIGALRM SIGCHLD SIGCONT SIGHUP SIGKILL SIGPIPE SIGQUIT SIGSTOP SIGUSR1 SIGUSR2 alarm pause setitimer",
    },
    "darwin": {
        "modules": "spwd",
        "os": "sched_getaffinity sched_setaffinity posix_fadvise posix_fallocate memfd_create",
        "signal": "",
    },
}[system]
for name in LACKING["modules"].split():
    sys.modules[name] = None  # what Python itself puts there to forbid an import
for module in (os, signal):
    for name in LACKING[module.__name__].split():
        if hasattr(module, name):
            delattr(module, name)


def missing(path):
    return str(path).replace("\\", "/").startswith(("/proc/", "/sys/"))


real_open = pathlib.Path.open


def no_proc(self, *arguments, **options):
    if missing(self):
        raise FileNotFoundError(2, "No such file or directory", str(self))
    return real_open(self, *arguments, **options)


pathlib.Path.open = no_proc
if system == "win32":
    real_cdll = ctypes.CDLL.__init__

    def needs_a_name(self, name, *arguments, **options):
        if name is None:
            raise TypeError("CDLL() needs a name on Windows")
        real_cdll(self, name, *arguments, **options)

    ctypes.CDLL.__init__ = needs_a_name
sys.platform = system
for name in MODULES:
    importlib.import_module(name)

import numpy as np
import torch
from core import load_tagger
from core.audio import encode_wav, open_clip
from core.checkpoints import load_checkpoint, save_checkpoint
from core.examples import synthesize
from core.runtime import background, machine, memory, process, profiles
from core.runtime.winograd import cache

process.set_passive_wait_policy()
process.configure_heap()
memory.trim_heap()
assert machine.usable_cpus() == os.cpu_count()
assert machine.usable_memory() is None
assert machine.threads() >= 1
assert cache.cached_code(b"key", lambda: b"code") == cache.cached_code(b"key", lambda: b"another") == b"code"
tagger = load_tagger("demo-epanns", runtime="torch")
assert profiles.choose_profile(tagger.model.config)[0].name == "fast"
memory.page_out_weights(tagger.model)
clip = open_clip(encode_wav(synthesize("siren")), name="siren.wav")
tags = tagger.tag(clip)
path = scratch / "copy.safetensors"
for _ in range(2):  # the second replaces the first
    save_checkpoint(path, tagger.model, classes=tagger.info.classes, name="copy")
again = load_tagger(checkpoint=path, runtime="torch").tag(clip)
assert np.array_equal(tags.probabilities, again.probabilities)
legacy = scratch / "legacy.pth"
torch.save(tagger.model.state_dict(), legacy, _use_new_zipfile_serialization=False)
loaded = load_checkpoint(legacy, classes=tagger.info.classes)
assert torch.equal(loaded.model.fc1.weight, tagger.model.fc1.weight)
assert sorted(file.name for file in scratch.iterdir()) == ["cache", "copy.safetensors", "legacy.pth"]
ended = []
assert background.BackgroundTask(lambda cancelled: None, "task", ended.append).start().wait(60) and ended == [None]
print("works")
"""


@pytest.mark.parametrize("system", ["win32", "darwin"])
def test_nothing_needs_what_another_system_lacks(system: str, tmp_path: Path) -> None:
    environment = os.environ | {"PANNSCOPE_CACHE": str(tmp_path / "cache")}
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, system, str(tmp_path)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (0, "works\n"), ran.stderr
