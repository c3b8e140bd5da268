"""``batch``: a corpus becomes a Parquet data set."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.cli.options import (
    ChannelOption,
    JsonOption,
    MaxSecondsOption,
    OverlapOption,
    RuntimeOption,
    TaggerOptions,
    channel_of,
    grouped,
)
from core.cli.output import print_json, progress_bar, say
from core.cli.results import exclusive
from core.errors import DataError, ModelError
from core.units import plural

if TYPE_CHECKING:
    from core.batch.dataset import Settings
    from core.batch.run import Plan, Runner
    from core.batch.work import Result

_OVERLAP = 0.0
_LINE_S = 60.0  # between two lines of progress where standard error is not a terminal


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command("batch")(grouped(batch_command))


@dataclass(frozen=True)
class RowOptions:
    """What a row is, and what it has."""

    window: Annotated[
        float | None,
        typer.Option(
            "--window",
            metavar="S",
            help="A row for every window of so many seconds; by default one for a recording.",
            show_default=False,
        ),
    ] = None
    overlap: OverlapOption = _OVERLAP
    top: Annotated[int, typer.Option("--top", "-k", metavar="K", help="Tags of a row.")] = 5
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Also store the probabilities of all classes.")
    ] = False
    embeddings: Annotated[bool, typer.Option("--embeddings", help="Also store the embedding.")] = False
    channel: ChannelOption = "mean"
    max_seconds: MaxSecondsOption = 86_400.0

    def settings(self) -> Settings:
        """The same, checked."""
        from core.batch.dataset import Settings
        from core.events import TimelineSettings

        if self.top < 1:
            raise ModelError(f"--top is a number of tags, 1 or more; got {self.top}.")
        if self.window is not None:
            TimelineSettings(self.window, self.overlap)
        elif self.overlap != _OVERLAP:
            raise DataError("--overlap is between windows; give --window S as well.")
        return Settings(
            self.window,
            None if self.window is None else self.overlap,
            self.top,
            self.probabilities,
            self.embeddings,
            channel_of(self.channel),
            self.max_seconds,
        )


@dataclass(frozen=True)
class WorkOptions:
    """Who does it."""

    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            metavar="N",
            help="Processes, each on one core and with the networks in its memory; by default as many as cores.",
            show_default=False,
        ),
    ] = None
    shard: Annotated[
        str,
        typer.Option(
            "--shard", metavar="I/N", help="Do only the I-th of N shards, which are chosen by clip name."
        ),
    ] = "1/1"
    part_clips: Annotated[
        int | None,
        typer.Option(
            "--part-clips",
            metavar="N",
            help="Clips of one part file; by default up to 1,000. What a killed worker has to do again.",
            show_default=False,
        ),
    ] = None

    ray: Annotated[
        str | None,
        typer.Option(
            "--ray",
            metavar="ADDRESS",
            help="Work on a Ray cluster: its address, auto for the one of this machine, or local to start one here.",
            show_default=False,
        ),
    ] = None

    def checked(self) -> WorkOptions:
        """The same; raises ``DataError`` for numbers below 1, and where Ray is not installed."""
        from core.batch.cluster import ray_actors

        for name, value in (("--workers", self.workers), ("--part-clips", self.part_clips)):
            if value is not None and value < 1:
                raise DataError(f"{name} is a number from 1 on; got {value}.")
        if self.ray is not None:
            ray_actors(self.ray, self.workers)
        return self

    def runner(self, parts: int) -> Runner:
        """The workers; no more than there are parts."""
        from core.batch.cluster import ray_actors
        from core.batch.processes import worker_processes
        from core.batch.run import in_this_process
        from core.runtime.machine import usable_cpus

        if self.ray is not None:
            return ray_actors(self.ray, self.workers)
        count = min(self.workers or usable_cpus(), parts)
        return in_this_process if count <= 1 else worker_processes(count)


def batch_command(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A folder of recordings, a manifest (.csv or .parquet with the column path), or the address of either, as s3://bucket/clips.",
        ),
    ],
    *,
    out: Annotated[
        str,
        typer.Option(
            "--out",
            "-o",
            metavar="DIR",
            help="Folder or address of the data set; a run that was interrupted goes on.",
        ),
    ],
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            metavar="MODEL",
            help="A model's name or a checkpoint file; can be repeated: clips are decoded once for all.",
            show_default=False,
        ),
    ] = None,
    rows: RowOptions,
    work: WorkOptions,
    runtime: RuntimeOption = "auto",
    json_output: JsonOption = False,
) -> None:
    """Tag a corpus of any size into a Parquet data set.

    A run that was interrupted, killed or that found the disk full goes on where it stopped. Clips that cannot be read are listed in DIR/failures.
    """
    from core.batch.dataset import FAILURES
    from core.batch.run import check_settings, make_plan, open_dataset, run_parts
    from core.batch.source import Shard, is_address, open_source
    from core.batch.work import Job, NetworkFile

    settings, shard, work = rows.settings(), Shard.parse(work.shard), work.checked()
    corpus = open_source(source)
    networks = [TaggerOptions(name) for name in model] if model else [TaggerOptions()]
    taggers = [network.load(runtime=runtime) for network in networks]
    files = tuple(
        NetworkFile(_load_options(network, runtime), tagger.name, tagger.info.sha256)
        for network, tagger in zip(networks, taggers, strict=True)
    )
    job = Job(files, settings, corpus.name, out)
    check_settings(job, taggers)
    lock = f".pannscope-{shard.number}of{shard.count}.lock"
    with nullcontext() if is_address(out) else exclusive(Path(out), lock):
        open_dataset(job, taggers)
        del taggers  # the workers have their own
        plan = make_plan(job, corpus, shard, work.part_clips)
        started = time.monotonic()
        with _progress(plan.to_do) as on_clip:
            result = run_parts(job, plan, work.runner(len(plan.parts)), on_clip)
        document = _document(out, plan, result, time.monotonic() - started)
    if json_output:
        print_json(document)
    else:
        _print(document)
    if document["failed"]:
        typer.echo(
            f"{plural(document['failed'], 'clip')} could not be read; {out}/{FAILURES} lists them. They are not tried again: to do so, delete that.",
            err=True,
        )


def _load_options(network: TaggerOptions, runtime: str) -> dict[str, Any]:
    """What ``load_tagger`` takes; files by their absolute paths, for workers elsewhere."""
    file = network.file
    if file is None:
        return {"name": network.model, "runtime": runtime}
    return {"checkpoint": str(file.resolve()), "runtime": runtime}


@contextmanager
def _progress(clips: int) -> Iterator[Callable[[int], object]]:
    """To be called with clips that are finished: a bar with the time that is left, or a line a minute where there is no terminal."""
    started = said = time.monotonic()
    done = 0
    with progress_bar() as bar:
        task = bar.add_task("Clips", total=clips)

        def on_clip(finished: int) -> None:
            nonlocal done, said
            done += finished
            bar.update(task, completed=done)
            now = time.monotonic()
            if done and now - said >= _LINE_S and not sys.stderr.isatty():
                said, rate = now, done / (now - started)
                left = (clips - done) / rate
                typer.echo(
                    f"{done:,} of {clips:,} clips, {rate:.1f} a second, {left / 60:,.0f} min left", err=True
                )

        yield on_clip


def _document(out: str, plan: Plan, result: Result, seconds: float) -> dict[str, Any]:
    return {
        "out": out,
        "listed": plan.listed,
        "done_before": plan.listed - plan.to_do,
        "tagged": result.tagged,
        "failed": result.failed + plan.failed_before,
        "rows": result.rows,
        "audio_s": round(result.audio_s, 3),
        "bytes_read": result.bytes_read,
        "seconds": round(seconds, 3),
        "clips_per_s": round(result.tagged / seconds, 3) if seconds else None,
        "worker_s": round(result.seconds, 3),
    }


def _print(document: dict[str, Any]) -> None:
    say(
        f"{document['out']}: {plural(document['listed'], 'clip')}, {document['tagged']:,} tagged now, {document['done_before']:,} done before, "
        f"{document['failed']:,} failed; {document['seconds']:.1f} s, {document['clips_per_s'] or 0:.1f} clips a second."
    )
