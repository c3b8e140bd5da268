"""onnxruntime-web's files for pages: from a folder, from the cache, or downloaded on request; each is the pinned one or is refused."""

from __future__ import annotations

import os
from pathlib import Path

from core import settings
from core.checkpoints.download import download
from core.errors import DownloadError, ExportError
from core.files import atomic_write, file_sha256, unwritable

VERSION = settings.WEB_RUNTIME_VERSION

PINNED = {
    "ort.wasm.min.mjs": (48_259, "6ef726f355b791129f7ddf3f62e7877a16b9b777abe87004b8ab306e6b9cf265"),
    "ort-wasm-simd-threaded.mjs": (20_856, "30dd851d9c00622940500f71ddd2ff8820c5cb65270816080175b958705385a8"),
    "ort-wasm-simd-threaded.wasm": (11_210_254, "71aef04959c5c1b6de461b6538e2058e306610034a85aad2742d0c7fd4533fe4"),
}  # fmt: skip
"""The files of ``dist`` in the npm package onnxruntime-web: bytes and sha256. Of its versions from 1.16 to 1.30, 1.22.0 has one of the smallest
WebAssembly files: 2.9 MB compressed, where 1.30.0 has 3.7."""


def runtime_files(folder: Path | None = None) -> dict[str, Path]:
    """The files by name: from ``folder``, else from the cache, where they are downloaded to if they are not there.

    Raises
    ------
    ExportError
        The folder does not have them, or the cache cannot be written.
    DownloadError
        They cannot be downloaded, or are others.
    """
    if folder is not None:
        inside = folder / "dist" if os.path.isdir(folder / "dist") else folder
        for name, (_, sha256) in PINNED.items():
            if not _is(inside / name, sha256):
                raise ExportError(
                    f"{inside} does not have {name} of onnxruntime-web {VERSION}; give the folder that "
                    f"`npm install onnxruntime-web@{VERSION}` makes, node_modules/onnxruntime-web, or leave it out to download the file."
                )
        return {name: inside / name for name in PINNED}
    cache = settings.cache_dir() / f"onnxruntime-web-{VERSION}"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        return {name: _cached(cache / name, *pin) for name, pin in PINNED.items()}
    except OSError as error:
        raise ExportError(unwritable(cache, error)) from error


def _is(path: Path, sha256: str) -> bool:
    """Whether a file can be read and is the pinned one."""
    try:
        return os.path.isfile(path) and file_sha256(path) == sha256
    except OSError:
        return False


def _cached(target: Path, size: int, sha256: str) -> Path:
    if _is(target, sha256):
        return target
    url = f"{settings.web_runtime()}/{target.name}"
    with atomic_write(target) as draft:
        download(url, draft, size_bytes=size)
        if file_sha256(draft) != sha256:
            raise DownloadError(
                f"{url} is not the file of onnxruntime-web {VERSION} (sha256 {file_sha256(draft)}); nothing was installed. Name another "
                "address in PANNSCOPE_WEB_RUNTIME, or give the package's folder: --web-runtime FOLDER."
            )
    return target
