"""The data set that visitors look at: which folder it may be, and one open at a time."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from urllib.parse import urlsplit

import streamlit as st

from core import settings
from core.batch.query import Corpus, part_files
from core.errors import DataError

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_PROXIED = ("X-Forwarded-For", "X-Forwarded-Host", "Forwarded", "X-Real-Ip")

_opening = threading.Lock()
_open: tuple[object, Corpus] | None = None


def is_local() -> bool:
    """Whether this page is open on the machine that serves it, and on it alone: only there may a visitor name folders."""
    headers = st.context.headers
    host = urlsplit(f"//{headers.get('Host', '')}").hostname
    return (
        not settings.fixed_models()
        and st.get_option("server.address") in _LOOPBACK
        and host in _LOOPBACK
        and not any(headers.get(name) for name in _PROXIED)
    )


def open_corpus(folder: str) -> Corpus:
    """A data set, opened anew where its files have changed. Raises ``DataError``."""
    global _open
    with _opening:
        try:
            files = [file for of_model in part_files(Path(folder).expanduser()).values() for file in of_model]
            stamp = (folder, *((file, os.stat(file).st_mtime_ns) for file in files))
        except (
            OSError,
            ValueError,
            RuntimeError,
        ) as error:  # a folder without permission, a NUL in its name, ~nobody
            raise DataError(
                f"{folder} cannot be read; give a folder that pannscope batch has written."
            ) from error
        if _open is None or _open[0] != stamp:
            _open = None  # before the next one takes as much memory
            _open = (stamp, Corpus(folder))
        return _open[1]
