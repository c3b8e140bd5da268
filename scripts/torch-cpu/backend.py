"""Build backend (PEP 517) of an empty wheel that requires PyTorch's CPU build of torch, where it is available.

On Linux the package index holds the CUDA build of torch (gigabytes); the CPU build is on PyTorch's own index. Naming that
index in requirements.txt has a price: pip asks every index for every package, and retries an unreachable one for about 8 s
each time (measured: 85 s for thop, torch and their nine dependencies; --find-links is no better), and uv takes every
package that the index happens to mirror from there alone. So this backend asks once, with a HEAD request for the one wheel:

- it succeeds: the metadata say ``Requires-Dist: torch @ https://...``, and the installer takes exactly that file;
- it fails (no network, a firewall, no such wheel), or this is not Linux: no requirement, and the ``torch==...`` of
  requirements.txt is found wherever else the installer is configured to look.

``PANNSCOPE_TORCH_INDEX`` names a mirror of the index. Nothing is needed here but the standard library.
"""

from __future__ import annotations

import base64
import hashlib
import os
import platform
import sys
import threading
import tomllib
import urllib.request
import zipfile
from pathlib import Path

INDEX = "https://download.pytorch.org/whl/cpu"
DEADLINE_S = 5.0  # for the name look-up, the connection and the response together


def cpu_wheel(version: str) -> str | None:
    """URL of the CPU wheel of torch `version` for this interpreter; None where the package index has the CPU build itself.

    The file names are those of https://download.pytorch.org/whl/cpu/torch/: glibc 2.28 or later, x86-64 and arm64.
    """
    machine = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}.get(
        platform.machine().lower()
    )
    glibc = platform.libc_ver()[0] == "glibc"
    if sys.platform != "linux" or machine is None or not glibc or sys.implementation.name != "cpython":
        return None
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    index = os.environ.get("PANNSCOPE_TORCH_INDEX", INDEX).rstrip("/")
    return f"{index}/torch-{version}%2Bcpu-{python}-{python}-manylinux_2_28_{machine}.whl"


def is_available(url: str, deadline_s: float = DEADLINE_S) -> bool:
    """Whether a HEAD request for `url` succeeds within `deadline_s` seconds.

    The request runs in a daemon thread: a socket's own time limit holds for one address, and a host has several.
    """
    ok = threading.Event()
    done = threading.Event()

    def request() -> None:
        try:
            with urllib.request.urlopen(
                urllib.request.Request(url, method="HEAD"), timeout=deadline_s
            ) as response:
                if response.status == 200:
                    ok.set()
        except (OSError, ValueError):  # URLError and HTTPError are OSErrors; ValueError: not a URL at all
            pass
        finally:
            done.set()

    threading.Thread(target=request, daemon=True).start()
    done.wait(deadline_s)
    return ok.is_set()


def build_wheel(
    wheel_directory: str, config_settings: object = None, metadata_directory: str | None = None
) -> str:
    """PEP 517's hook: write the wheel into `wheel_directory` and return its file name."""
    project = tomllib.loads(Path(__file__).with_name("pyproject.toml").read_text(encoding="utf-8"))["project"]
    stem = f"{project['name'].replace('-', '_')}-{project['version']}"
    url = cpu_wheel(project["version"])
    metadata = ["Metadata-Version: 2.1", f"Name: {project['name']}", f"Version: {project['version']}"]
    metadata += [f"Summary: {project['description']}", f"Requires-Python: {project['requires-python']}"]
    if url is not None and is_available(url):
        metadata.append(f"Requires-Dist: torch @ {url}")
    files = {
        f"{stem}.dist-info/METADATA": "\n".join(metadata) + "\n",
        f"{stem}.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: pannscope\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},{_record_hash(text)},{len(text.encode())}\n" for path, text in files.items())
    files[f"{stem}.dist-info/RECORD"] = f"{record}{stem}.dist-info/RECORD,,\n"
    name = f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(Path(wheel_directory) / name, "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)
    return name


def _record_hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return "sha256=" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
