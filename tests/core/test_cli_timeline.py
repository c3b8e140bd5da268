"""``timeline`` and what ``tag`` shares with it: folders, standard input, result files that are whole or absent, and runs that go on."""

from __future__ import annotations

import io
import json
import shutil
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from filelock import FileLock

from core.audio import load_clip
from core.classes import ClassSet
from core.events import EventSettings, TimelineSettings, detect, timeline
from core.tagging import load_tagger
from tests.core.test_cli_mistakes import limited

KEYS = {"path", "file", "clip", "model", "sample_rate", "settings", "notes", "events"}
ON = ("--min-confidence", "0.5")


@pytest.fixture(scope="module")
def small(studio) -> list[str]:
    return ["-m", str(studio / "small.safetensors")]


@pytest.fixture
def folder(studio, tmp_path) -> Path:
    """Two recordings in two folders, a damaged one, and what is no recording."""
    made = tmp_path / "in"
    (made / "b").mkdir(parents=True)
    (made / ".hidden").mkdir()
    shutil.copy(studio / "tone.wav", made / "b" / "tone.WAV")
    shutil.copy(studio / "noise.flac", made / "noise.flac")
    shutil.copy(studio / "noise.flac", made / ".hidden" / "noise.flac")
    (made / "a.wav").write_text("not a recording")
    (made / "notes.txt").touch()
    return made


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_the_document_is_what_python_computes(cli, studio, small):
    said = cli("timeline", studio / "long.wav", *small, "--json", "--window", 8, "--overlap", 0.75).document
    assert set(said) == KEYS
    assert (said["path"], said["file"]) == (str(studio / "long.wav"), "long.wav")
    assert said["settings"] == {
        "window_s": 8.0, "hop_s": 2.0, "min_confidence": 0.5, "off": 0.3, "min_length_s": 0.0, "max_gap_s": 0.0
    }  # fmt: skip
    tagger = load_tagger(checkpoint=studio / "small.safetensors")
    over_time = timeline(tagger, load_clip(studio / "long.wav"), TimelineSettings(8, 0.75))
    found = detect(over_time.rows(), ClassSet.from_names(["Speech", "Rain", "Siren"]), EventSettings())
    assert said["events"] == [vars(event) for event in found]


def test_a_table_for_people(cli, studio, small):
    run = cli("timeline", studio / "noise.flac", *small, "--min-confidence", 0.01)
    title, columns, *events = run.out.splitlines()
    assert title == f"{studio / 'noise.flac'} (0.5 s), small"
    assert columns.split() == ["event", "onset", "(s)", "offset", "(s)", "probability"]
    assert len(events) >= 1
    assert "no event of 0.5 or more" in cli("timeline", studio / "tone.wav", *small, "--min-length", 9).out


def test_a_folder_and_what_is_below_it(cli, folder, small):
    given = f"{folder}/../in"  # as the user gave it
    run = cli("timeline", given, *small, "--json")
    assert run.code == 2
    said = [json.loads(line) for line in run.out.splitlines()]
    assert [one["path"] for one in said] == [
        f"{given}/{name}" for name in ("a.wav", "noise.flac", "b/tone.WAV")
    ]
    assert said[0] == {"path": f"{given}/a.wav", "error": run.err.removeprefix("pannscope: ").strip()}
    assert said[2]["file"] == "b/tone.WAV"
    tags = cli("tag", given, *small, "--json", "--top", 1)
    assert tags.code == 2
    assert [json.loads(line)["path"] for line in tags.out.splitlines()] == [one["path"] for one in said]
    text = cli("tag", folder, *small)
    assert [text.out.count("tone.WAV"), text.out.count("noise.flac")] == [1, 1]


@pytest.mark.parametrize("command", ["tag", "timeline"])
def test_standard_input(cli, studio, small, monkeypatch, command):
    data = (studio / "tone.wav").read_bytes()
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(data)))
    said = cli(command, "-", *small, "--json").document
    assert (said["path"], said["clip"]["name"], said["clip"]["duration_s"]) == ("-", "standard input", 1.0)
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO()))
    assert '"standard input" is empty (0 bytes)' in cli(command, "-", *small).complaint


@pytest.mark.parametrize("form", ["csv", "audacity", "raven", "dcase", "json"])
def test_a_format_on_standard_output_is_the_file(cli, studio, small, tmp_path, form):
    words = ["timeline", studio / "tone.wav", *small, "-f", form, "--min-confidence", 0.1]
    printed = cli(*words).out
    assert cli(*words, "-o", tmp_path).code == 0
    (written,) = (path for path in tmp_path.iterdir())
    expected = [json.loads(written.read_text())] if form == "json" else written.read_text()
    assert (json.loads(printed) if form == "json" else printed) == expected


def test_results_are_whole_skipped_and_made_again(cli, folder, small, tmp_path):
    out = tmp_path / "new" / "out"
    words = ["timeline", folder, *small, *ON, "-o", out, "-f", "csv"]
    first = cli(*words, "-f", "parquet")
    assert first.code == 2  # of a.wav
    assert [line.partition(":")[0] for line in first.out.splitlines()] == [
        str(folder / "noise.flac"), str(folder / "b" / "tone.WAV")
    ]  # fmt: skip
    results = ["b/tone.WAV.csv", "b/tone.WAV.parquet", "noise.flac.csv", "noise.flac.parquet"]
    assert names(out) == results
    for name in results[::2]:
        columnar = pd.read_parquet(out / name.replace("csv", "parquet"))
        assert len(pd.read_csv(out / name)) == len(columnar)
    (out / "noise.flac.csv").write_text("mine")
    (out / "b" / "tone.WAV.csv").unlink()
    second = cli(*words)
    assert second.out.splitlines() == [first.out.splitlines()[1]]
    assert "1 recording skipped, whose results are in" in second.err
    assert (out / "noise.flac.csv").read_text() == "mine"
    again = cli(*words, "--force", "--json")
    assert (out / "noise.flac.csv").read_text() != "mine"
    said = [json.loads(line) for line in again.out.splitlines()]
    assert [("error" in one, one.get("skipped")) for one in said] == [
        (True, None),
        (False, False),
        (False, False),
    ]
    assert said[1]["results"] == [str(out / "noise.flac.csv")]
    assert names(out) == results


def test_one_file_for_all(cli, folder, small, tmp_path):
    """From the JSON files in the folder, so that a second run with other recordings adds to it and loses nothing."""
    (folder / "a.wav").unlink()
    words = ["-o", tmp_path / "out", "-f", "dcase", "--combined", *small, "--min-confidence", "0.1"]
    assert cli("timeline", folder / "b", *words).code == 0
    assert cli("timeline", folder / "noise.flac", *words).code == 0
    assert cli("timeline", folder / "noise.flac", *words).code == 0  # skipped
    combined = pd.read_csv(tmp_path / "out" / "all.tsv", sep="\t")
    parts = [pd.read_csv(tmp_path / "out" / f"{name}.tsv", sep="\t") for name in ("noise.flac", "tone.WAV")]
    pd.testing.assert_frame_equal(combined, pd.concat(parts, ignore_index=True))
    assert [one["file"] for one in json.loads((tmp_path / "out" / "all.json").read_text())] == [
        "noise.flac",
        "tone.WAV",
    ]
    refused = cli("timeline", folder / "noise.flac", *words, "--window", 1)
    assert "is of another network or other settings" in refused.err


def test_a_second_run_waits_for_the_first(cli, folder, small, tmp_path):
    """And then skips what that has written."""
    out = tmp_path / "out"
    out.mkdir()
    held = threading.Event()

    def first() -> None:
        with FileLock(out / ".pannscope.lock"):
            held.set()
            time.sleep(1)
            (out / "noise.flac.csv").write_text("first")

    other = threading.Thread(target=first)
    other.start()
    held.wait()
    run = cli("timeline", folder / "noise.flac", *small, "-o", out)
    other.join()
    assert (run.code, run.out) == (0, "")
    assert f"Another run writes into {out}; waiting for it." in run.err
    assert (out / "noise.flac.csv").read_text() == "first"


def test_a_file_that_disappears_is_one_line(cli, folder, small, tmp_path, monkeypatch):
    """It is there when the folder is listed, and gone when it is its turn."""
    (folder / "a.wav").unlink()
    listed = load_tagger

    def load(*given, **options):
        (folder / "b" / "tone.WAV").unlink()
        return listed(*given, **options)

    monkeypatch.setattr("core.tagging.load_tagger", load)
    run = cli("timeline", folder, *small, "-o", tmp_path / "out")
    assert run.code == 2
    assert run.err == '"tone.WAV" does not exist'.join(("pannscope: ", run.err.partition("exist")[2]))
    assert names(tmp_path / "out") == ["noise.flac.csv"]


def test_a_full_disk_ends_the_run_in_one_line_and_leaves_whole_files(folder, small, tmp_path):
    (folder / "a.wav").unlink()
    done = limited(
        ["timeline", folder, *small, "-o", tmp_path / "out", "-f", "parquet", "--min-confidence", "0.1"], 2
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert (
        "cannot be written: File too large; check its folder and the free space. 0 of 2 recordings are done"
        in done.stderr
    )
    assert names(tmp_path / "out") == []


def test_ten_thousand_names_are_found_in_order(tmp_path):
    from core.cli.inputs import find_recordings

    for number in range(100):
        (tmp_path / f"{number:02}").mkdir()
        for name in range(100):
            (tmp_path / f"{number:02}" / f"{name:02}.wav").touch()
    found = [recording.file for recording in find_recordings([str(tmp_path)])]
    assert found == [f"{number:02}/{name:02}.wav" for number in range(100) for name in range(100)]


MISTAKES = {
    "{in}/empty": "contains no recordings (.wav, ",
    "{in} -f xml": "There is no format 'xml'; give one of json, csv, audacity, raven, dcase, parquet.",
    "{in} -f audacity": "Audacity labels do not say which recording they are of",
    "{in} -f audacity --combined -o out": "Audacity labels do not say which recording they are of",
    "{in} -f parquet": "Standard output takes one format",
    "{in} -f csv -f dcase": "Standard output takes one format",
    "{in} --combined": "are for files; give --output FOLDER as well.",
    "{in}/noise.flac -o result.csv": "--output takes a folder, and result.csv looks like a file",
    "{in}/noise.flac -o {in}/notes.txt": "notes.txt is a file; --output takes a folder.",
    "{in}/noise.flac -o {in}/notes.txt/out": "cannot be written: Not a directory",
    "{in}/noise.flac {in}/same/noise.flac -o out": "would have one result, out/noise.flac; give them in two runs",
    "{in}/noise.flac --window 0.2": "Windows of 0.2 s do not fit CNN14; give 0.31 to 30 s.",
    "{in}/noise.flac --overlap 1": "Windows overlap by a share from 0 to 0.9; got 1.",
    "{in}/noise.flac --min-confidence 0": "An event begins at a probability above 0",
    "{in}/noise.flac --off 0.6": "up to the one it begins at, 0.5; got 0.6.",
    "{in}/noise.flac --max-gap nan": "a number of seconds, 0 or more; got nan.",
    "{in}/noise.flac --max-seconds 0.1": "recordings of up to 0.1 s are accepted",
}  # fmt: skip


@pytest.mark.parametrize("words", MISTAKES)
def test_mistakes(cli, folder, small, monkeypatch, tmp_path, words):
    monkeypatch.chdir(tmp_path)
    (folder / "empty").mkdir()
    (folder / "same").mkdir()
    shutil.copy(folder / "noise.flac", folder / "same" / "noise.flac")
    run = cli("timeline", *words.format(**{"in": folder}).split(), *small)
    assert MISTAKES[words] in run.complaint
    assert not (tmp_path / "out").exists()
