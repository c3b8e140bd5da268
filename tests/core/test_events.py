"""Tags over time and the events in them, by hand and beside plain implementations; the files as other readers open them."""

from __future__ import annotations

import csv
import io
import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from core.audio import SAMPLE_RATE, Opening, StreamedClip, encode_wav, load_clip, open_clip
from core.classes import ClassSet
from core.errors import AudioError, ModelError
from core.events import (
    FORMATS,
    Event,
    EventSettings,
    Row,
    Timeline,
    TimelineSettings,
    detect,
    document,
    row_count,
    rows,
)
from core.events.over_time import sliding_windows
from core.models.registry import architecture
from tests.core.networks import narrow

TWO = ClassSet.from_names(["Rain", "Siren"])


def tagger(
    model: object = None, probabilities=lambda batch: batch.abs().mean(dim=1, keepdim=True)
) -> SimpleNamespace:
    """What ``rows`` needs of a tagger; its probability is by default the mean magnitude of the samples."""
    name = getattr(model, "architecture", "cnn14")
    return SimpleNamespace(
        network=model, entry=architecture(name), engine=SimpleNamespace(probabilities=probabilities), name="test", classes=TWO
    )  # fmt: skip


def clip(samples: np.ndarray):
    return load_clip(encode_wav(samples.astype(np.float32)), name="x.wav")


def test_rows_meet_halfway_between_the_windows_middles():
    """7.5 s in windows of 2 s every second: middles 1, 2, 3, 4, 5, 6, and 6.5 of the last one, which ends with the clip."""
    samples = np.zeros(int(7.5 * SAMPLE_RATE))
    samples[3 * SAMPLE_RATE :] = 0.5
    given = list(rows(tagger(), clip(samples).blocks(), TimelineSettings()))
    assert [row.start_s for row in given] == [0.0, 1.5, 2.5, 3.5, 4.5, 5.5, 6.25]
    assert [row.end_s for row in given] == [1.5, 2.5, 3.5, 4.5, 5.5, 6.25, 7.5]
    # windows 0-2, 1-3, 2-4, 3-5 …: half of the third is sound
    assert np.concatenate([row.probabilities for row in given]) == pytest.approx(
        [0, 0, 0.25, 0.5, 0.5, 0.5, 0.5], abs=1e-4
    )
    assert row_count(tagger(), clip(samples), TimelineSettings()) == 7


def test_a_clip_shorter_than_a_window_is_one_row():
    (row,) = rows(tagger(), clip(np.full(16_000, 0.5)).blocks(), TimelineSettings())
    assert (row.start_s, row.end_s) == (0.0, 0.5)
    assert row.probabilities == pytest.approx([0.5], abs=1e-4)


def test_a_network_of_one_length_has_windows_of_it():
    """Ten seconds at 44.1 kHz, padded where the clip is shorter."""
    taken = []
    scenes = tagger(probabilities=lambda batch: taken.append(batch.shape[1]) or batch[:, :1])
    scenes.entry = architecture("dcase2021-task1a")
    given = list(rows(scenes, clip(np.zeros(12 * SAMPLE_RATE)).blocks(), TimelineSettings(window_s=1)))
    assert taken == [441_000] * 2
    assert [(row.start_s, row.end_s) for row in given] == [(0.0, 6.0), (6.0, 12.0)]


@pytest.mark.parametrize(
    ("samples", "count"),
    [(1, 1), (63_999, 1), (64_000, 1), (64_001, 2), (96_000, 2), (96_001, 3), (127_999, 3), (128_000, 3)],
)
def test_how_many_rows_there_are(samples, count):
    """Windows of 64,000 samples every 32,000: at 0, 32,000, 64,000, and one that ends with the clip."""
    given = clip(np.full(samples, 0.1))
    assert row_count(tagger(), given, TimelineSettings()) == count
    assert len(list(rows(tagger(), given.blocks(), TimelineSettings()))) == count


@pytest.mark.parametrize("window_s", [0.3, 30.01, float("nan"), float("inf"), -1])
def test_windows_that_a_network_cannot_take(window_s):
    with pytest.raises(ModelError, match=r"do not fit CNN14; give 0\.31 to 30 s"):
        TimelineSettings(window_s).samples(architecture("cnn14"))


@pytest.mark.parametrize("overlap", [-0.1, 0.91, float("nan")])
def test_bad_overlap(overlap):
    with pytest.raises(ModelError, match="overlap by a share from 0 to 0"):
        TimelineSettings(overlap=overlap)


@pytest.mark.parametrize("streamed", [False, True])
def test_overlapping_parts_are_the_clips_samples(streamed, tmp_path):
    rng = np.random.default_rng(0)
    seconds = 61 if streamed else 5
    samples = (0.1 * rng.standard_normal(seconds * 4_000)).astype(np.float32)
    path = tmp_path / "noise.wav"
    soundfile.write(path, samples, 4_000, subtype="FLOAT")
    opened = open_clip(path)
    assert isinstance(opened, StreamedClip) == streamed
    assert opened.nbytes == (0 if streamed else 4 * opened.samples)  # a path, not the file
    whole = load_clip(path).waveform
    for blocks in (opened.blocks(), Opening(path).blocks()):
        spans = []
        for start, end, part in sliding_windows(blocks, 100_000, 29_000):
            assert np.array_equal(part, whole[start:end])
            spans.append((start, end))
        starts = [*range(0, opened.samples - 100_000, 29_000), opened.samples - 100_000]
        assert spans == [(start, start + 100_000) for start in starts]


def test_a_file_that_is_gone_or_shorter_when_it_is_read_again(tmp_path):
    path = tmp_path / "noise.wav"
    soundfile.write(path, np.full(62 * 8_000, 0.1), 8_000)
    opened = open_clip(path)
    soundfile.write(path, np.full(30 * 8_000, 0.1), 8_000)
    with pytest.raises(AudioError, match='"noise'):
        list(rows(tagger(), opened.blocks(), TimelineSettings()))
    path.unlink()
    with pytest.raises(AudioError, match=r"cannot be read \(No such file"):
        list(rows(tagger(), opened.blocks(), TimelineSettings()))


@pytest.mark.parametrize("name", ["cnn14-decision-level-max", "cnn14-decision-level-att"])
def test_segments_of_a_long_clip_are_those_of_one_pass(name, monkeypatch):
    """Parts of five segments with context, beside all of the clip at once."""
    monkeypatch.setattr("core.events.over_time._PART", 5)
    model = narrow(name, 2)
    samples = 0.1 * np.random.default_rng(1).standard_normal(4 * SAMPLE_RATE + 5_000).astype(np.float32)
    given = clip(samples)
    over_time = Timeline.of(tagger(model), rows(tagger(model), given.blocks(), TimelineSettings()))
    frames = model.framewise(torch.from_numpy(np.array(given.waveform))[None])[0].numpy()
    assert over_time.probabilities.shape == (12, 2)  # 4.16 s / 0.32 s
    assert over_time.edges_s[:3] == pytest.approx([0, 0.32, 0.64])
    assert over_time.edges_s[-1] == pytest.approx(4 + 5_000 / SAMPLE_RATE)
    assert np.ptp(over_time.probabilities, axis=0).min() > 0.01
    assert np.abs(over_time.probabilities - frames[16::32][:12]).max() < 1e-4
    assert row_count(tagger(model), given, TimelineSettings()) == 12


def of(values, settings, step=1.0):
    """The events of one class whose rows are ``step`` seconds long, as (onset, offset, probability)."""
    made = [Row(step * at, step * (at + 1), np.array([value], np.float32)) for at, value in enumerate(values)]
    return [
        (event.onset_s, event.offset_s, round(event.probability, 4))
        for event in detect(made, ClassSet.from_names(["Rain"]), settings)
    ]


EVENTS = {
    "begins at on, goes on to off": ((0.4, 0.5, 0.3, 0.29, 0.4), EventSettings(0.5, 0.3), [(1, 3, 0.5)]),
    "exactly on and off, as float32": ((0.7, 0.42, 0.41), EventSettings(0.7), [(0, 2, 0.7)]),
    "to the end": ((0.1, 0.9, 0.6), EventSettings(), [(1, 3, 0.9)]),
    "none": ((0.49, 0.1), EventSettings(), []),
    "a gap that is closed": ((0.9, 0.1, 0.8, 0.1, 0.1, 0.7), EventSettings(gap_s=1), [(0, 3, 0.9), (5, 6, 0.7)]),
    "no gap is closed": ((0.9, 0.1, 0.8), EventSettings(), [(0, 1, 0.9), (2, 3, 0.8)]),
    "under on does not join": ((0.9, 0.1, 0.4, 0.8), EventSettings(gap_s=1), [(0, 1, 0.9), (3, 4, 0.8)]),
    "shorter ones": ((0.9, 0.1, 0.8, 0.8), EventSettings(least_s=2), [(2, 4, 0.8)]),
    "gaps first, then lengths": ((0.9, 0.1, 0.8), EventSettings(least_s=3, gap_s=1), [(0, 3, 0.9)]),
}  # fmt: skip


@pytest.mark.parametrize("case", EVENTS)
def test_events_by_hand(case):
    values, settings, expected = EVENTS[case]
    assert of(values, settings) == expected


def test_a_gap_of_rounded_times_is_closed():
    """1.3 - 1.1 is more than 0.2 in binary."""
    assert len(of([0.0] * 10 + [0.9, 0, 0, 0.9], EventSettings(gap_s=0.2), step=0.1)) == 1


def test_events_of_any_probabilities_are_those_of_a_plain_loop():
    """Every class on its own: on/off runs, then gaps, then lengths."""
    rng = np.random.default_rng(2)
    for _ in range(100):
        values = rng.random((40, 2)).astype(np.float32)
        settings = EventSettings(
            on=0.7, off=0.4, least_s=float(rng.integers(0, 4)), gap_s=float(rng.integers(0, 3))
        )
        expected = []
        for column, name in enumerate(TWO.names):
            runs, running = [], False
            for at, value in enumerate(values[:, column]):
                if (value >= np.float32(0.4)) if running else (value >= np.float32(0.7)):
                    runs = [*runs[:-1], (runs[-1][0], at + 1)] if running else [*runs, (at, at + 1)]
                    running = True
                else:
                    running = False
            joined = runs[:1]
            for start, end in runs[1:]:
                if start - joined[-1][1] <= settings.gap_s:
                    joined[-1] = (joined[-1][0], end)
                else:
                    joined.append((start, end))
            expected += [(name, start, end) for start, end in joined if end - start >= settings.least_s]
        made = [Row(float(at), at + 1.0, row) for at, row in enumerate(values)]
        found = detect(made, TWO, settings)
        assert sorted((event.name, event.onset_s, event.offset_s) for event in found) == sorted(expected)
        assert [event.onset_s for event in found] == sorted(event.onset_s for event in found)


@pytest.mark.parametrize(
    "values",
    [{"on": 0}, {"on": 1.1}, {"on": float("nan")}, {"off": 0.6}, {"off": 0}, {"least_s": -1}, {"gap_s": float("inf")}],
)  # fmt: skip
def test_bad_event_settings(values):
    with pytest.raises(ModelError, match="got"):
        EventSettings(**values)


def documents() -> list[dict]:
    """Two recordings: a second of silence at 44.1 kHz with two events, half a second at 8 kHz with one."""
    described = {"model": "test", "sample_rate": 32_000, "settings": {}}
    file = io.BytesIO()
    soundfile.write(file, np.zeros(44_100), 44_100, format="WAV")
    first = load_clip(file.getvalue(), name="=a.wav")
    file = io.BytesIO()
    soundfile.write(file, np.zeros((4_000, 2)), 8_000, format="WAV")
    second = load_clip(file.getvalue(), name="b.wav", channel=2)
    events = [Event(289, "Rain", 0.0, 0.5, 0.75), Event(396, 'Siren, "loud"\tone', 0.25, 1.0, 0.5)]
    return [
        document(first, events, described, path="=in/=a.wav", file="=a.wav"),
        document(
            second, [Event(289, "Rain", 0.125, 0.5, 0.625)], described, path="in/sub/b.wav", file="sub/b.wav"
        ),
    ]


def test_audacity_labels():
    """https://manual.audacityteam.org/man/importing_and_exporting_labels.html: start, end and label, tabs between, no header."""
    text = FORMATS["audacity"].content(documents()[0]).decode()
    assert text == '0.000000\t0.500000\tRain\n0.250000\t1.000000\tSiren, "loud" one\n'
    read = pd.read_csv(io.StringIO(text), sep="\t", header=None, quoting=csv.QUOTE_NONE)
    assert read.values.tolist() == [[0.0, 0.5, "Rain"], [0.25, 1.0, 'Siren, "loud" one']]


def test_raven_selection_table():
    """Raven Pro's manual: times of several recordings go on from one to the next, the file's own are File Offset."""
    read = pd.read_csv(io.BytesIO(FORMATS["raven"].content(documents())), sep="\t", quoting=csv.QUOTE_NONE)
    assert read["Selection"].tolist() == [1, 2, 3]
    assert read["View"].unique().tolist() == ["Spectrogram 1"]
    assert read["Channel"].tolist() == [1, 1, 2]
    assert read["Begin Time (s)"].tolist() == [0.0, 0.25, 1.125]
    assert read["End Time (s)"].tolist() == [0.5, 1.0, 1.5]
    assert read["File Offset (s)"].tolist() == [0.0, 0.25, 0.125]
    assert {str(read[f"{end} Freq (Hz)"].dtype) for end in ("Low", "High")} == {
        "float64"
    }  # crowsetta reads no others
    assert read["High Freq (Hz)"].tolist() == [16_000, 16_000, 4_000]
    assert read["Begin Path"].tolist() == ["=in/=a.wav", "=in/=a.wav", "in/sub/b.wav"]
    assert read["Annotation"].tolist() == ["Rain", 'Siren, "loud" one', "Rain"]
    assert read["Confidence"].tolist() == [0.75, 0.5, 0.625]


def test_dcase_annotations():
    """https://dcase.community: filename, onset, offset, event_label, tabs between, with a header."""
    text = FORMATS["dcase"].content(documents()).decode()
    assert text.splitlines() == [
        "filename\tonset\toffset\tevent_label",
        "=a.wav\t0.000\t0.500\tRain",
        '=a.wav\t0.250\t1.000\tSiren, "loud" one',
        "sub/b.wav\t0.125\t0.500\tRain",
    ]


def test_csv_and_parquet_hold_the_same():
    read = pd.read_csv(io.BytesIO(FORMATS["csv"].content(documents())))
    columnar = pd.read_parquet(io.BytesIO(FORMATS["parquet"].content(documents())))
    assert read.columns.tolist() == ["path", "start_s", "end_s", "label", "probability", "index", "model"]
    assert columnar["path"].tolist() == ["=in/=a.wav", "=in/=a.wav", "in/sub/b.wav"]
    assert read["path"].tolist() == [
        "'=in/=a.wav",
        "'=in/=a.wav",
        "in/sub/b.wav",
    ]  # no formula in a spreadsheet
    assert columnar["label"].tolist() == ["Rain", 'Siren, "loud"\tone', "Rain"]
    assert columnar["index"].dtype == "int64"
    shared = ["start_s", "end_s", "label", "probability", "index", "model"]
    pd.testing.assert_frame_equal(read[shared], columnar[shared], check_dtype=False)


def test_json_is_the_documents():
    assert json.loads(FORMATS["json"].content(documents())) == documents()
    assert json.loads(FORMATS["json"].content(documents()[0])) == documents()[0]


@pytest.mark.parametrize("name", FORMATS)
def test_recordings_without_events(name):
    empty = [{**one, "events": []} for one in documents()]
    content = FORMATS[name].content(empty)
    readers = {
        "csv": lambda: pd.read_csv(io.BytesIO(content)),
        "parquet": lambda: pd.read_parquet(io.BytesIO(content)),
        "raven": lambda: pd.read_csv(io.BytesIO(content), sep="\t"),
        "dcase": lambda: pd.read_csv(io.BytesIO(content), sep="\t"),
        "json": lambda: [event for one in json.loads(content) for event in one["events"]],
        "audacity": lambda: content,
    }
    assert len(readers[name]()) == 0


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_name_of_any_bytes(name):
    """Linux has names that no encoding fits: Python keeps their bytes as lone surrogates."""
    assert FORMATS[name].content([{**documents()[0], "path": "a\udcff.wav", "file": "a\udcff.wav"}])
