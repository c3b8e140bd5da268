"""Workers on a Ray cluster, or on Ray's processes on this machine: actors that hold the networks, fed by Ray Data."""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from core.batch.dataset import GO_ON
from core.batch.run import Runner
from core.batch.work import Job, Part, Result, load_networks, process_part
from core.errors import DataError, PannscopeError, one_line

LOCAL = "local"
"""The address of a cluster that is started on this machine, and ended with the run."""

_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}
"""Ray reports its use to its makers unless this says otherwise, and notes of its own processes to standard error."""


def ray_actors(address: str, count: int | None) -> Runner:
    """The ``Runner`` on a cluster: at most ``count`` actors, by default one a core; raises ``DataError`` where Ray is not installed."""
    os.environ.update(_QUIET)  # before it is imported
    try:
        import ray.data
    except ImportError as error:
        raise DataError(
            "--ray needs Ray, which is not installed; install it: pip install 'pannscope[batch]', or use --workers alone."
        ) from error
    return _Cluster(ray, address, count)


class _Actor:
    """Holds the networks, and processes one part after the other."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._problem = ""
        try:
            self._taggers = load_networks(job)
        except PannscopeError as error:  # an actor that does not start would be started again and again
            self._problem = str(error)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[bytes]]:
        """Parts of ``batch`` -> their results, or the message of what stops the run; both pickled."""
        return {"result": [pickle.dumps(self._process(pickle.loads(part))) for part in batch["part"]]}

    def _process(self, part: Part) -> Result | str:
        if self._problem:
            return self._problem
        try:
            return process_part(self._job, self._taggers, part)
        except PannscopeError as error:
            return str(error)


@dataclass(frozen=True)
class _Cluster:
    """A ``Runner``: the module ``ray``, the cluster's address, and how many actors there are at most."""

    ray: Any
    address: str
    count: int | None

    def __call__(self, job: Job, parts: Iterable[Part], on_clip: Callable[[int], object]) -> Iterator[Result]:
        rows = [{"part": pickle.dumps(part)} for part in parts]
        if not rows:
            return
        with self._connected():
            data = self.ray.data
            actors = min(self.count or int(self.ray.cluster_resources().get("CPU", 1)), len(rows))
            logging.getLogger("ray.data").setLevel(logging.ERROR)
            data.DataContext.get_current().enable_progress_bars = False
            results = data.from_items(rows, override_num_blocks=len(rows)).map_batches(
                _Actor,
                fn_constructor_args=(job,),
                batch_size=1,
                compute=data.ActorPoolStrategy(min_size=1, max_size=max(1, actors)),
                num_cpus=1,
            )
            for row in results.iter_rows():
                result = pickle.loads(row["result"])
                if not isinstance(result, Result):
                    raise DataError(result)
                on_clip(result.tagged + result.failed)
                yield result

    @contextmanager
    def _connected(self) -> Iterator[None]:
        """A connection to the cluster; raises ``DataError`` where there is none, or it fails."""
        local = {"num_cpus": self.count, "include_dashboard": False}
        own = local if self.address == LOCAL else {"address": self.address}
        try:
            self.ray.init(**own, log_to_driver=False, logging_level="ERROR", runtime_env={"env_vars": _QUIET})
        except Exception as error:  # of a node that does not start Ray raises no class of its own
            raise DataError(
                f"No Ray cluster answers at {self.address} ({one_line(error)}); give the address of one (and its token as RAY_AUTH_TOKEN, if it has "
                f"one), auto, or {LOCAL}. {GO_ON}"
            ) from error
        try:
            yield
        except self.ray.exceptions.RayError as error:
            raise DataError(f"The Ray cluster failed ({one_line(error)}). {GO_ON}") from error
        finally:
            self.ray.shutdown()
