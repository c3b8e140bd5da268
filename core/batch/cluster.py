"""Workers on a Ray cluster, or on Ray's processes on this machine: actors with a worker process each, which holds the networks, fed by Ray Data."""

from __future__ import annotations

import logging
import os
import pickle
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from multiprocessing.connection import Connection
from typing import Any

from core.batch.dataset import GO_ON
from core.batch.processes import how_it_ended, spawn, worker_processes
from core.batch.run import Runner
from core.batch.work import Job, Part, Result
from core.errors import DataError, PannscopeError, one_line

LOCAL = "local"
"""The address of a cluster that is started on this machine, and ended with the run."""


def ray_actors(address: str, count: int | None) -> Runner:
    """The ``Runner`` on a cluster: at most ``count`` actors, by default one a core; raises ``DataError`` where Ray is not installed."""
    if find_spec("ray") is None:
        raise DataError(
            "--ray needs Ray, which is not installed; install it: pip install 'pannscope[batch]', or use --workers alone."
        )
    return partial(_run, address, count)


def _run(
    address: str, count: int | None, job: Job, parts: Iterable[Part], on_clip: Callable[[int], object]
) -> Iterator[Result]:
    """In a process of its own, which Ray ends without a word when the cluster's head is gone."""
    chosen = list(parts)
    if not chosen:
        return
    process, pipe = spawn(_drive, address, count, job, chosen)
    try:
        while (message := pipe.recv()) is not None:
            if not isinstance(message, Result):
                raise DataError(str(message))
            on_clip(message.tagged + message.failed)
            yield message
        process.join()  # a cluster of our own ends with it
    except (EOFError, OSError) as error:
        raise DataError(
            f"The Ray cluster failed (Ray ended the connection {how_it_ended(process)}). {GO_ON}"
        ) from error
    finally:
        process.kill()
        process.join()


def _drive(pipe: Connection, address: str, count: int | None, job: Job, parts: list[Part]) -> None:
    """Send the results of parts through a pipe, and None; or the message of what stops the run."""
    sys.stderr = os.fdopen(os.dup(2), "w")
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)  # where Ray's own processes note what they do
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # before it is imported, or it reports its use to its makers
    try:
        import ray.data

        with _connected(ray, address, count):
            for result in _results(ray, count, job, parts):
                pipe.send(result)
        pipe.send(None)
    except (ImportError, PannscopeError) as error:
        pipe.send(str(error))


def _results(ray: Any, count: int | None, job: Job, parts: list[Part]) -> Iterator[Result]:
    """What the actors make of the parts, in any order."""
    actors = max(1, min(count or int(ray.cluster_resources().get("CPU", 1)), len(parts)))
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    rows = [{"part": pickle.dumps(part)} for part in parts]
    results = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
        _Actor,
        fn_constructor_args=(job,),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=actors, initial_size=actors),
        num_cpus=1,
    )
    for row in results.iter_rows():
        result = pickle.loads(row["result"])
        if not isinstance(result, Result):
            raise DataError(result)
        yield result


@contextmanager
def _connected(ray: Any, address: str, count: int | None) -> Iterator[None]:
    """A connection to the cluster; raises ``DataError`` where there is none, or it fails."""
    own = {"num_cpus": count, "include_dashboard": False} if address == LOCAL else {"address": address}
    try:
        ray.init(**own, log_to_driver=False, logging_level="ERROR")
    except Exception as error:  # of a node that does not start Ray raises no class of its own
        raise DataError(
            f"No Ray cluster answers at {address} ({one_line(error)}); give the address of one (and its token as RAY_AUTH_TOKEN, if it has "
            f"one), auto, or {LOCAL}. {GO_ON}"
        ) from error
    try:
        yield
    except ray.exceptions.RayError as error:
        raise DataError(f"The Ray cluster failed ({one_line(error)}). {GO_ON}") from error
    finally:
        ray.shutdown()


class _Actor:
    """Processes one part after the other, in a worker process of its own.

    So a clip at which the process dies is a failure here too. Were it the actor itself, Ray would start it again, and with it the part, without end.
    """

    def __init__(self, job: Job) -> None:
        self._parts: deque[Part] = deque()
        self._results = worker_processes(1)(job, iter(self._parts.popleft, None), lambda _clips: None)
        self._problem = ""

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[bytes]]:
        """Parts of ``batch`` -> their results, or the message of what stops the run; both pickled."""
        return {"result": [pickle.dumps(self._process(pickle.loads(part))) for part in batch["part"]]}

    def _process(self, part: Part) -> Result | str:
        if self._problem:
            return self._problem
        self._parts.append(part)  # the worker asks for it once its result before this one is taken
        try:
            return next(self._results)
        except PannscopeError as error:
            self._problem = str(error)
            return self._problem
