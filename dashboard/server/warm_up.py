"""Loading what the first visitor needs, when the server starts and while nobody waits for it.

Importing torch alone takes seconds on a small machine; so do reading the networks, building their engines and timing them.
"""

from __future__ import annotations

import gc
import importlib
import threading
from collections.abc import Iterator
from contextlib import suppress

from core import settings
from core.audio import POOL
from core.errors import DataError
from core.runtime.background import BackgroundTask

_LIBRARIES = ("plotly.graph_objects", "plotly.io", "pandas", "pyarrow")
"""What the charts and Streamlit import when something is first drawn."""


def start() -> BackgroundTask:
    """Begin in the background; a visitor who comes meanwhile shares what is there already, and waits for the rest."""
    return BackgroundTask(_load, "warm-up").start()


def _load(cancelled: threading.Event) -> None:
    for _ in _steps():
        if cancelled.is_set():
            return


def _steps() -> Iterator[None]:
    """Start the decoder; compute what the front page opens with, the pair's tags of the first example and their times; read the operator's data set."""
    from core.examples import EXAMPLES  # imported here, since torch is what takes the time
    from core.runtime.memory import drop_library_pages
    from core.tagging import default_pair
    from dashboard.server.server import get_server
    from dashboard.server.source import Source

    POOL.warm()
    yield
    server, names = get_server(), default_pair()
    source = Source.of_example(EXAMPLES[0].key, EXAMPLES[0].title)
    for name in names:
        server.tags(source, name)
        yield
    for library in _LIBRARIES:
        importlib.import_module(library)
        yield
    drop_library_pages()  # what importing touched
    # Streamlit collects garbage after every run of a page or of a part of it: a quarter of a second where it looks through all that was imported.
    gc.collect()
    gc.freeze()
    _ = server.clip(source).sound
    server.latencies(names)
    yield
    folder = settings.corpus()
    if folder:
        with suppress(DataError):  # the page says it
            server.corpora.data_set(folder).prepare()
