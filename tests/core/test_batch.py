"""Corpora: the rows against the command ``tag``, what a kill leaves, sources and targets, and what is refused."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import sys
import weakref
from collections import Counter
from itertools import chain
from pathlib import Path
from types import SimpleNamespace

import fsspec
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import dataset, parquet

from core.audio import POOL, load_clip
from core.batch import dataset as datasets
from core.batch import processes, work
from core.batch.dataset import Store
from core.batch.processes import worker_processes
from core.batch.run import make_plan
from core.batch.source import Shard, open_source
from core.batch.work import Job, NetworkFile, Part, process_part
from core.errors import DataError
from core.tagging import load_tagger

WITHOUT_RAY = "--ray needs the extra: pip install 'pannscope[batch]'"
CLIPS = ("noise.flac", "short.wav", "silent.wav", "tone.wav")


@pytest.fixture(scope="module")
def corpus(studio, tmp_path_factory) -> Path:
    """The studio's recordings, some of them in a folder of their own, a damaged one, and a text file."""
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "b").mkdir()
    for number, name in enumerate(CLIPS):
        shutil.copy(studio / name, folder / name if number % 2 else folder / "b" / name)
    (folder / "broken.wav").write_bytes(b"RIFF and no more")
    (folder / "notes.txt").write_text("not a recording")
    return folder


@pytest.fixture
def batch(cli, studio):
    """The command with one worker and the small networks; returns its JSON."""

    def call(source, out, *options, models=("small",)):
        words = [word for model in models for word in ("-m", studio / f"{model}.safetensors")]
        return cli(
            "batch", source, "--out", out, *words, "--workers", 1, "--runtime", "torch", "--json", *options
        )

    return call


def rows(out: Path, model: str = "small") -> pa.Table:
    """All rows of a network, by clip and start."""
    table = dataset.dataset(out / "clips", partitioning="hive").to_table()
    return table.filter(pa.compute.equal(table["model"], model)).sort_by(
        [("clip", "ascending"), ("start_s", "ascending")]
    )


def failures(out: Path) -> list[dict[str, str]]:
    return dataset.dataset(out / "failures").to_table().to_pylist()


def contents(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*.parquet")}


def test_rows_are_what_the_network_outputs(batch, studio, corpus, tmp_path):
    found = batch(
        corpus, tmp_path / "out", "--top", 2, "--probabilities", "--embeddings", models=("small", "other")
    ).document
    assert (found["listed"], found["tagged"], found["failed"], found["rows"]) == (5, 4, 1, 8)
    assert found["bytes_read"] == sum(
        path.stat().st_size for path in corpus.rglob("*.*") if path.stem in "noise short silent tone"
    )
    assert [(row["clip"], row["path"]) for row in failures(tmp_path / "out")] == [
        ("broken.wav", str(corpus / "broken.wav"))
    ]
    for model in ("small", "other"):
        known = json.loads((tmp_path / "out" / "networks" / f"{model}.json").read_text())
        tagger = load_tagger(checkpoint=studio / f"{model}.safetensors", runtime="torch")
        assert [entry["name"] for entry in known["classes"]] == list(tagger.classes.names)
        for row in rows(tmp_path / "out", model).to_pylist():
            clip = load_clip(row["path"])
            tags = tagger.tag(clip)
            assert (row["sha256"], row["checkpoint"]) == (clip.sha256, known["sha256"])
            assert (row["start_s"], row["end_s"]) == (0.0, pytest.approx(clip.duration_s, abs=1e-4))
            assert row["tags"] == [tag.name for tag in tags.top(2)]
            assert row["tag_probabilities"] == pytest.approx(
                [tag.probability for tag in tags.top(2)], abs=1e-5
            )
            assert row["probabilities"] == pytest.approx(tags.probabilities.tolist(), abs=1e-5)
            assert row["embedding"] == pytest.approx(
                tagger.embedding(clip.waveform).tolist(), rel=1e-3, abs=1e-5
            )


def test_rows_of_windows(batch, studio, tmp_path):
    (tmp_path / "long").mkdir()
    shutil.copy(studio / "long.wav", tmp_path / "long")  # 31 s
    batch(tmp_path / "long", tmp_path, "--window", 10, "--overlap", 0.5)
    assert [(row["start_s"], row["end_s"]) for row in rows(tmp_path).to_pylist()] == [
        (0, 10),
        (5, 15),
        (10, 20),
        (15, 25),
        (20, 30),
        (21, 31),
    ]


def test_an_interrupted_run_leaves_the_files_of_one_that_was_not(batch, corpus, tmp_path, monkeypatch):
    """Killed between any two of its files: each clip exactly once, failures once, the same bytes."""
    whole = tmp_path / "whole"
    batch(corpus, whole, "--part-clips", 2, models=("small", "other"))
    assert len(contents(whole)) == 7  # three parts of two networks, one of failures
    writing = Store.writing
    for kept in (1, 2, 4, 6):
        left = kept

        def until(self, name):
            nonlocal left
            if name.endswith(".parquet"):
                left -= 1
                if left < 0:
                    raise KeyboardInterrupt
            return writing(self, name)

        out = tmp_path / str(kept)
        monkeypatch.setattr(Store, "writing", until)
        assert batch(corpus, out, "--part-clips", 2, models=("small", "other")).code == 130
        monkeypatch.setattr(Store, "writing", writing)
        assert len(contents(out)) < 7
        (out / "clips" / "model=small").mkdir(parents=True, exist_ok=True)
        draft = out / "clips" / "model=small" / ".part-1of1-00001of00003-0123abcd.part"
        draft.write_bytes(b"half")
        batch(corpus, out, "--part-clips", 2, models=("small", "other"))
        assert contents(out) == contents(whole)
        assert not draft.exists()


def test_clips_that_are_added_and_networks(batch, corpus, tmp_path):
    growing, out = tmp_path / "growing", tmp_path / "out"
    shutil.copytree(corpus, growing)
    batch(growing, out)
    shutil.copy(corpus / "short.wav", growing / "added.wav")
    (growing / "broken.wav").write_bytes((corpus / "short.wav").read_bytes())  # a failure is not tried again
    again = batch(growing, out, models=("small", "other")).document
    assert (again["listed"], again["done_before"], again["tagged"], again["failed"]) == (6, 1, 5, 1)
    for model in ("small", "other"):
        assert Counter(rows(out, model)["clip"].to_pylist()) == Counter(
            ["added.wav", "b/noise.flac", "b/silent.wav", "short.wav", "tone.wav"]
        )


@pytest.mark.parametrize("count", [1, 3, 7])
def test_shards_are_the_whole_and_nothing_twice(count):
    names = [f"site{number % 5}/{number}.wav" for number in range(700)]
    held = [[name for name in names if Shard(number, count).holds(name)] for number in range(1, count + 1)]
    assert sorted(chain(*held)) == sorted(names)
    assert min(map(len, held)) > 0.5 * len(names) / count
    assert [name for name in names[::2] if Shard(1, count).holds(name)] == [
        name for name in held[0] if name in names[::2]
    ]


def test_shards_into_one_data_set(batch, corpus, tmp_path):
    for number in (1, 2, 3):
        batch(corpus, tmp_path / "shards", "--shard", f"{number}/3")
    batch(corpus, tmp_path / "whole")
    assert rows(tmp_path / "shards") == rows(tmp_path / "whole")
    assert failures(tmp_path / "shards") == failures(tmp_path / "whole")
    assert batch(corpus, tmp_path / "shards").document["done_before"] == 5


def test_a_worker_that_is_killed_loses_nothing(batch, studio, corpus, tmp_path):
    """In processes of their own, one killed with its first part in hand: the files of a run without."""
    batch(corpus, tmp_path / "one", "--part-clips", 3)
    path = studio / "small.safetensors"
    network = NetworkFile(
        {"checkpoint": str(path), "runtime": "torch"}, "small", load_tagger(checkpoint=path).info.sha256
    )
    settings = datasets.Settings(None, None, 5, False, False, "mean", 86_400.0)
    job = Job((network,), settings, str(corpus), str(tmp_path / "two"))
    killed = []

    def parts():
        for part in make_plan(job, open_source(str(corpus)), Shard(), 3).parts:
            if not killed:
                killed.append(multiprocessing.active_children()[0])
                killed[0].kill()
            yield part

    finished = []
    results = list(worker_processes(1)(job, parts(), finished.append))
    assert killed[0].exitcode == -9
    assert (sum(result.tagged for result in results), sum(result.failed for result in results)) == (4, 1)
    assert sum(finished) == 5
    assert contents(tmp_path / "two") == contents(tmp_path / "one")
    assert multiprocessing.active_children() == []


def test_a_decoder_that_dies_makes_no_failure(batch, studio, corpus, tmp_path):
    """Killed before every clip: what the machine does to it is not the recording's fault."""
    batch(corpus, tmp_path / "one")
    path = studio / "small.safetensors"
    tagger = load_tagger(checkpoint=path, runtime="torch")
    settings = datasets.Settings(None, None, 5, False, False, "mean", 86_400.0)
    network = NetworkFile({}, "small", tagger.info.sha256)
    job = Job((network,), settings, str(corpus), str(tmp_path / "two"))
    (part,) = make_plan(job, open_source(str(corpus)), Shard()).parts
    killed = set()

    def kill(position):
        pid = POOL.idle_pid()
        if pid is not None:
            os.kill(pid, signal.SIGTERM)
            killed.add(pid)

    assert process_part(job, {"small": tagger}, part, kill).failed == 1
    assert len(killed) > 3
    assert contents(tmp_path / "two") == contents(tmp_path / "one")


def test_a_clip_at_which_workers_die_is_a_failure():
    """At the second time; before the networks are loaded, and after the last clip, there is none to blame."""
    part = Part((("a.wav", "/a.wav"), ("b.wav", "/b.wav")), {}, "x", {})
    deaths = Counter()

    def after_death(position):
        process = SimpleNamespace(join=lambda: None, exitcode=-9)
        return processes._after_death(processes._Worker(process, None, part, position), deaths)

    assert after_death(1) is part
    assert after_death(0) is part
    assert after_death(1).lost == {1: "The process that ran it ended by signal 9, 2 times."}
    assert after_death(None) is part
    with pytest.raises(
        DataError, match="by signal 9 before they had loaded the networks; use fewer --workers"
    ):
        after_death(None)
    with pytest.raises(DataError, match=r"by signal 9 while they wrote the part with b\.wav"):
        after_death(2)


DEADLY = """
import os, signal
measured = os.path.getsize
def getsize(path):
    if os.path.basename(path) == "deadly.wav":
        os.kill(os.getpid(), signal.SIGKILL)
    return measured(path)
os.path.getsize = getsize
"""
"""What every process that is started from here on runs first: one that opens this recording is killed."""


@pytest.mark.parametrize("where", [("--workers", 2), ("--ray", "local")], ids=["processes", "ray"])
def test_a_clip_that_kills_whoever_opens_it(batch, corpus, tmp_path, monkeypatch, where):
    if "--ray" in where:
        pytest.importorskip("ray", reason=WITHOUT_RAY)
    (tmp_path / "sitecustomize.py").write_text(DEADLY)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    source = tmp_path / "corpus"
    shutil.copytree(corpus, source)
    shutil.copy(corpus / "tone.wav", source / "deadly.wav")
    found = batch(source, tmp_path / "out", "--part-clips", 3, *where).document
    assert (found["tagged"], found["failed"]) == (4, 2)
    told = {failure["clip"]: failure["error"] for failure in failures(tmp_path / "out")}
    assert told["deadly.wav"] == "The process that ran it ended by signal 9, 2 times."
    assert sorted(rows(tmp_path / "out")["clip"].to_pylist()) == [
        "b/noise.flac",
        "b/silent.wav",
        "short.wav",
        "tone.wav",
    ]


def test_a_lost_clip_is_not_run(batch, studio, corpus, tmp_path):
    batch(corpus, tmp_path / "out", "--shard", "1/9")
    job = Job(
        (), datasets.Settings(None, None, 5, False, False, "mean", 60.0), str(corpus), str(tmp_path / "out")
    )
    part = Part((("a.wav", "/a.wav"),), {}, "part-x.parquet", {}).without(0, "why")
    assert process_part(job, {}, part).failed == 1
    assert {"clip": "a.wav", "path": "/a.wav", "error": "why"} in failures(tmp_path / "out")


def test_on_ray_the_files_are_the_same(batch, corpus, tmp_path):
    pytest.importorskip("ray", reason=WITHOUT_RAY)
    found = batch(corpus, tmp_path / "ray", "--part-clips", 3, "--ray", "local").document
    assert (found["tagged"], found["failed"]) == (4, 1)
    batch(corpus, tmp_path / "plain", "--part-clips", 3)
    assert contents(tmp_path / "ray") == contents(tmp_path / "plain")


def test_without_ray(batch, corpus, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)  # what Python itself puts there to forbid an import
    refused = batch(corpus, tmp_path / "out", "--ray", "local").complaint
    assert "--ray needs Ray, which is not installed; install it: pip install 'pannscope[batch]'" in refused
    assert not (tmp_path / "out").exists()


def test_a_cluster_that_is_gone_is_one_line(batch, corpus, tmp_path, monkeypatch):
    """Ray ends the process that is connected without a word. This one does so at once, with 7 where it has been told not to report its use."""
    package = tmp_path / "packages" / "ray"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(
        "import os\nos._exit(7 if os.environ.get('RAY_USAGE_STATS_ENABLED') == '0' else 8)\n"
    )
    monkeypatch.syspath_prepend(package.parent)
    monkeypatch.delitem(sys.modules, "ray", raising=False)
    stopped = batch(corpus, tmp_path / "out", "--ray", "auto").complaint
    assert (
        "The Ray cluster failed (Ray ended the connection with code 7). What is done is kept; the" in stopped
    )
    assert batch(corpus, tmp_path / "out").document["tagged"] == 4


# Sources and targets


def manifest(folder: Path, corpus: Path) -> list[Path]:
    """The corpus' clips as manifests: relative and absolute paths, one of them twice."""
    listed = [str(corpus / "tone.wav"), "short.wav", "broken.wav", "short.wav"]
    shutil.copy(corpus / "short.wav", folder)
    shutil.copy(corpus / "broken.wav", folder)
    (folder / "clips.csv").write_text("site,path\n" + "".join(f'"a, b","{path}"\n' for path in listed))
    parquet.write_table(pa.table({"path": listed, "site": ["a"] * 4}), folder / "clips.parquet")
    return [folder / "clips.csv", folder / "clips.parquet"]


def test_manifests(batch, corpus, tmp_path):
    for number, given in enumerate(manifest(tmp_path, corpus)):
        out = tmp_path / f"out{number}"
        assert batch(given, out).document["listed"] == 3
        assert [(row["clip"], row["path"]) for row in rows(out).to_pylist()] == [
            (str(corpus / "tone.wav"), str(corpus / "tone.wav")),
            ("short.wav", str(tmp_path / "short.wav")),
        ]


@pytest.fixture
def remote(corpus, monkeypatch):
    """The corpus in fsspec's memory file system, whose every third call fails; nothing waits."""
    system = fsspec.filesystem("memory")
    system.put(str(corpus), "/corpus", recursive=True)
    calls = Counter()

    def failing(name):
        method = getattr(type(system), name)

        def call(self, *arguments, **options):
            calls[name] += 1
            if calls[name] % 3 == 1:
                raise ConnectionError("reset by peer")
            return method(self, *arguments, **options)

        monkeypatch.setattr(type(system), name, call)

    for name in ("find", "get_file", "put_file", "cat_file"):
        failing(name)
    monkeypatch.setattr("core.batch.source.PAUSES_S", (0.0, 0.0))
    yield system
    system.store.clear()


def test_addresses(batch, corpus, remote, tmp_path):
    """From and to a remote store whose calls fail now and then: the rows of the folder, under other paths."""
    found = batch("memory://corpus", "memory://out").document
    assert (found["tagged"], found["failed"]) == (4, 1)
    for path, content in remote.store.items():
        if path.startswith("/out/"):
            (tmp_path / path[1:]).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path[1:]).write_bytes(content.getvalue())
    batch(corpus, tmp_path / "whole")
    assert rows(tmp_path / "out").drop(["path"]) == rows(tmp_path / "whole").drop(["path"])
    assert rows(tmp_path / "out")["path"].to_pylist()[0] == "memory://corpus/b/noise.flac"
    assert batch("memory://corpus", "memory://out").document["done_before"] == 5


def test_a_store_that_stays_away(batch, remote, monkeypatch, tmp_path):
    batch("memory://corpus", tmp_path / "out", "--part-clips", 1, "--shard", "1/2")

    def refuse(*_arguments, **_options):
        raise ConnectionError("reset by peer")

    monkeypatch.setattr(type(remote), "get_file", refuse)
    monkeypatch.setattr(type(remote), "exists", refuse)
    stopped = batch("memory://corpus", tmp_path / "out", "--shard", "2/2").complaint
    assert "memory://corpus cannot be reached after three tries: reset by peer" in stopped


# What is refused, and what happens while a run goes on


def test_mistakes(batch, corpus, tmp_path, studio):
    (tmp_path / "a.csv").write_text("file,label\nx.wav,Rain\n")
    (tmp_path / "b.csv").write_text("path\nx.wav\n\n \n")
    (tmp_path / "c.parquet").write_bytes(b"PAR1 and no more")
    parquet.write_table(pa.table({"path": [1, 2]}), tmp_path / "d.parquet")
    out = tmp_path / "out"
    for source, options, expected in (
        (
            tmp_path / "nothing",
            (),
            "does not exist; give a folder, a manifest (.csv or .parquet) or an address.",
        ),
        (corpus / "tone.wav", (), "is a file; give a folder, a manifest"),
        (studio / "empty", (), "contains no recordings (.wav"),
        (
            tmp_path / "a.csv",
            (),
            "has the columns 'file', 'label'; one has to be called 'path', the recordings' paths.",
        ),
        (tmp_path / "b.csv", (), "row 2: its path is empty; give a path, or remove the row."),
        (tmp_path / "c.parquet", (), "is not a Parquet file that can be read: "),
        (tmp_path / "d.parquet", (), "is int64; it has to be text."),
        ("unknown://x/y", (), "is not an address that fsspec opens"),
        (corpus, ("--shard", "4/3"), "--shard takes i/n with i from 1 to n, as 2/7; got '4/3'."),
        (corpus, ("--part-clips", 0), "--part-clips is a number from 1 on; got 0."),
        (corpus, ("--top", 0), "--top is a number of tags, 1 or more; got 0."),
        (corpus, ("--overlap", 0.5), "--overlap is between windows; give --window S as well."),
        (corpus, ("--window", 0.01), "Windows of 0.01 s do not fit"),
    ):
        assert expected in batch(source, out, *options).complaint
    assert not out.exists() or not list(out.rglob("*.*"))
    assert "are called 'small'" in batch(corpus, out, models=("small", "small")).complaint


def test_a_data_set_of_another_run(batch, corpus, tmp_path, studio):
    batch(corpus, tmp_path / "out")
    assert (
        "top = 5, and this run has 3; give the same, or another --out."
        in batch(corpus, tmp_path / "out", "--top", 3).complaint
    )
    (tmp_path / "other").mkdir()
    shutil.copy(studio / "other.safetensors", tmp_path / "other" / "small.safetensors")
    described = json.loads((tmp_path / "out" / "networks" / "small.json").read_text())
    described["sha256"] = "0" * 64
    (tmp_path / "out" / "networks" / "small.json").write_text(json.dumps(described))
    assert (
        "has rows of another small (000000000000, this one is " in batch(corpus, tmp_path / "out").complaint
    )
    (tmp_path / "out" / "dataset.json").write_text("{")
    assert "dataset.json is damaged" in batch(corpus, tmp_path / "out").complaint


def test_a_damaged_part_is_named_and_made_again(batch, corpus, tmp_path):
    batch(corpus, tmp_path)
    whole = contents(tmp_path)
    (part,) = (tmp_path / "clips").rglob("*.parquet")
    content = bytearray(part.read_bytes())
    content[40] ^= 0xFF  # a bit of the first column: only its checksum shows it
    for damaged in (bytes(content), part.read_bytes()[:-40]):
        part.write_bytes(damaged)
        assert f"{part} is damaged" in batch(corpus, tmp_path).complaint
    part.unlink()
    assert batch(corpus, tmp_path).document["tagged"] == 4
    assert contents(tmp_path) == whole


def test_a_source_that_vanishes(batch, corpus, tmp_path, monkeypatch):
    """Its clips are not failures: the run stops, and goes on when it is back."""
    source, out = tmp_path / "source", tmp_path / "out"
    shutil.copytree(corpus, source)
    clip_rows = work.clip_rows

    def vanish(*arguments):
        source.rename(tmp_path / "away")
        monkeypatch.setattr(work, "clip_rows", clip_rows)
        return clip_rows(*arguments)

    monkeypatch.setattr(work, "clip_rows", vanish)
    stopped = batch(source, out, "--part-clips", 2).complaint
    assert (
        f"{source} is not there any more. What is done is kept; bring it back, and the same command goes on from there."
        in stopped
    )
    assert contents(out) == {}
    (tmp_path / "away").rename(source)
    assert batch(source, out, "--part-clips", 2).document["tagged"] == 4
    assert len(failures(out)) == 1


def test_a_full_disk(batch, corpus, tmp_path, monkeypatch):
    """A file may have 700 bytes: the part is left out, whole, and made when there is room."""
    resource = pytest.importorskip("resource", reason="limits of a file's size are not for Windows")
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (700, before[1]))
    try:
        stopped = batch(corpus, tmp_path / "out").complaint
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert "cannot be written: " in stopped
    assert "What is done is kept; the same command goes on from there." in stopped
    assert [path for path in (tmp_path / "out").rglob("*") if path.suffix in (".parquet", ".part")] == []
    assert batch(corpus, tmp_path / "out").document["tagged"] == 4


def test_a_clock_that_jumps(batch, corpus, tmp_path, monkeypatch):
    """A day back at every look: the same files, and seconds that are none of the clock's."""
    batch(corpus, tmp_path / "steady")
    days = iter(range(10_000))
    monkeypatch.setattr("time.time", lambda: 1.7e9 - 86_400 * next(days))
    assert 0 < batch(corpus, tmp_path / "jumping").document["seconds"] < 600
    assert contents(tmp_path / "jumping") == contents(tmp_path / "steady")


def test_names_that_are_no_text(batch, corpus, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    try:
        shutil.copy(corpus / "short.wav", source / "caf\udce9.wav")
    except OSError:
        pytest.skip("this file system takes names in UTF-8 only")
    batch(source, tmp_path / "out")
    assert rows(tmp_path / "out")["clip"].to_pylist() == ["caf\\udce9.wav"]
    assert batch(source, tmp_path / "out").document["done_before"] == 1


def test_a_row_that_waits_to_be_written_has_the_file_s_columns_alone(tmp_path):
    probabilities = np.zeros(527, np.float32)
    kept = weakref.ref(probabilities)
    with datasets.PartWriter(str(tmp_path / "x.parquet"), datasets.FAILURE_SCHEMA) as writer:
        writer.add({"clip": "a", "path": "", "error": "", "probabilities": probabilities})
        del probabilities
        assert kept() is None


def test_rows_are_written_in_groups(tmp_path):
    """Memory does not grow with a recording: after every 1,024 rows nothing is kept."""
    path = tmp_path / "x.parquet"
    with datasets.PartWriter(str(path), datasets.FAILURE_SCHEMA) as writer:
        for number in range(2_500):
            writer.add({"clip": str(number), "path": "", "error": ""})
    file = parquet.ParquetFile(path)
    assert [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)] == [
        1024,
        1024,
        452,
    ]
    assert np.array_equal(file.read()["clip"].to_numpy(), np.arange(2_500).astype(str))
