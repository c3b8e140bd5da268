"""Opening a file with weights by its content, and naming what is none."""

from __future__ import annotations

from pathlib import Path

from core.checkpoints.tensorfile import is_tensor_file, open_tensor_file
from core.checkpoints.torchfile import is_zip, open_torch_file
from core.checkpoints.weights import WeightFile
from core.errors import CheckpointError


def open_weights(path: Path) -> WeightFile:
    """Open a file by the layout that its first bytes show. Raises ``CheckpointError``."""
    try:
        if path.is_dir():
            raise CheckpointError(f"{path} is a folder; give a checkpoint file (.safetensors, .pth or .pt).")
        if not path.is_file():
            raise CheckpointError(
                f"There is no file {path}; check the path, or `pannscope models` for known checkpoints."
            )
        with path.open("rb") as file:
            start = file.read(512)
        if not start:
            raise CheckpointError(f"{path} is empty; its download or copy failed: get it again.")
        if is_zip(path) or (start[0] == 0x80 and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")):
            return open_torch_file(path)
        if is_tensor_file(path):
            return open_tensor_file(path)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}.") from error
    raise CheckpointError(
        f"{path} is not a checkpoint: it {_foreign(start)}. Give a .safetensors, .pth or .pt file with a CNN14's weights."
    )


def _foreign(start: bytes) -> str:
    """A guess at the format of a file that is not a checkpoint."""
    text = start.lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return "is a web page (of an error or a login, in place of the download?)"
    if text.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer; the file itself was not checked out"
    if start.startswith(b"\x89HDF"):
        return "is an HDF5 (Keras) file"
    if start.startswith(b"\x1f\x8b"):
        return "is gzip-compressed; unpack it first"
    if start[257:262] == b"ustar":
        return "is a tar archive"
    printable = all(byte in b"\t\r\n" or byte >= 32 for byte in start)
    if printable and start.decode("utf-8", errors="ignore"):
        return "is a text file"
    return "is neither a safetensors nor a torch file, or its beginning is damaged"
