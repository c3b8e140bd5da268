"""Recordings of more than ten minutes: never decoded as a whole, computed by jobs, compared over their rows, and shown as they grow."""

from __future__ import annotations

import hashlib
import io
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest
import soundfile
from streamlit.testing.v1 import AppTest

import core.audio
from core.audio import POOL, SAMPLE_RATE, StreamedClip, UncheckedClip
from core.errors import AudioError
from core.events import Row
from core.tagging import EMBEDDED_PAIR, load_tagger
from dashboard.server import clips, long_recordings, upload_limit
from dashboard.server import timelines as timelines_module
from dashboard.server.server import Server
from dashboard.server.source import Source
from dashboard.server.timelines import Pair
from dashboard.widgets import clip_notes

SECONDS = 605


@pytest.fixture(scope="module")
def beeps() -> bytes:
    """A little more than ten minutes of 440 Hz, in seconds 100 to 130 and 500 to 530, in a file of 4 kHz."""
    time_s = np.arange(SECONDS * 4_000) / 4_000
    sounding = ((time_s >= 100) & (time_s < 130)) | ((time_s >= 500) & (time_s < 530))
    file = io.BytesIO()
    soundfile.write(file, 0.3 * sounding * np.sin(2 * np.pi * 440 * time_s), 4_000, format="FLAC")
    return file.getvalue()


@pytest.fixture
def source(beeps: bytes) -> Source:
    return Source.of_bytes("beeps.flac", beeps)


def waited_for(found: Callable[[], object]) -> None:
    for _ in range(1200):
        if found():
            return
        time.sleep(0.05)
    raise AssertionError("not there after a minute")


def begun(server: Server, source: Source) -> UncheckedClip:
    clip = server.long_clip(source)
    assert clip is not None
    return clip


def long_clip(server: Server, source: Source) -> StreamedClip:
    begun(server, source)
    server.long_recordings.check(source)
    waited_for(lambda: server.long_recordings.checked(source))
    return server.long_recordings.checked(source)


def test_a_long_recording_is_its_file(source: Source) -> None:
    server = Server()
    clip = begun(server, source)
    assert clip.source is source.data
    assert (clip.duration_s, clip.sample_rate_hz, clip.channels) == (SECONDS, 4_000, 1)  # the header's
    assert server.long_clip(source).source is source.data  # from what is known, without decoding it again
    assert server.long_clip(Source.of_example("clock", "Clock")) is None
    with pytest.raises(
        AudioError,
        match=r'"beeps.flac" lasts more than the 10\smin that are accepted here \(about 10\smin\)\..*Compare',
    ):
        server.clip(source)
    assert server.long_recordings.checked(source) is None
    checked = long_clip(server, source)
    assert (checked.duration_s, checked.samples) == (SECONDS, SECONDS * SAMPLE_RATE)
    assert (checked.source is source.data, checked.sha256) == (True, hashlib.sha256(source.data).hexdigest())
    assert checked.peak == pytest.approx(0.3, abs=0.01)
    source.recording.data = None
    with pytest.raises(AudioError, match="no longer in this server's memory"):
        server.long_clip(source)


def test_a_length_that_no_header_declares_is_estimated() -> None:
    """From the bytes that the first ten minutes take."""
    part = np.random.default_rng(0).uniform(-0.3, 0.3, 10 * 4_000)
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", 4_000, 1, format="OGG") as written:
        for _ in range(181):
            written.write(part)  # libsndfile crashes on all of it in one call
    clip = begun(Server(), Source.of_bytes("noise.ogg", file.getvalue()))
    assert clip.duration_s == pytest.approx(1_810, rel=0.2)  # the decoder has read ahead
    assert sum(map(len, clip.blocks())) == 1_810 * SAMPLE_RATE  # all that there is
    assert (clip.silent, clip.channel_spread_db, clip.notes) == (False, 0.0, ())


def test_damage_late_in_a_recording(page: AppTest, beeps: bytes, embedded: None) -> None:
    """Its rows begin, and it is refused once the check arrives there; the page says why, and computes no more of it."""
    samples, rate = soundfile.read(io.BytesIO(beeps))
    file = io.BytesIO()
    soundfile.write(file, np.tile(samples, 2), rate, format="FLAC")
    damaged = file.getvalue()[:-10_000]  # which end in the last beep, after 1,105 s
    source, server = Source.of_bytes("cut.flac", damaged), Server()
    clip = begun(server, source)
    server.long_recordings.check(source)
    waited_for(lambda: server.long_recordings.check_status(source) is None)
    with pytest.raises(AudioError, match=r'"cut.flac" (is truncated|is damaged)'):
        server.long_recordings.checked(source)
    timelines = server.long_recordings.timelines
    timelines.start(source, EMBEDDED_PAIR, clip)
    waited_for(lambda: not timelines.status(source, EMBEDDED_PAIR).active)
    assert timelines.known(source, EMBEDDED_PAIR) is None
    assert '"cut.flac" is' in timelines.status(source, EMBEDDED_PAIR).message
    # At its first row, not when it came to the damage.
    assert timelines.status(source, EMBEDDED_PAIR).done == 0
    page.file_uploader[0].upload("cut.flac", damaged, "audio/flac")
    page.run()
    for _ in range(100):
        if page.error:
            break
        time.sleep(0.1)
        page.run()
    assert '"cut.flac" is' in page.error[0].value.replace("\\", "")
    assert not page.exception


def test_more_rows_than_were_expected() -> None:
    """Parts that were handed out before keep their values."""
    tagger = load_tagger(EMBEDDED_PAIR[0])
    rows, parts = timelines_module._Rows(tagger, 2), []
    for number in range(1, 8):
        rows.push(Row(number - 1.0, float(number), np.full(len(tagger.classes), number, np.float32)))
        parts.append(rows.timeline())
    assert [part.edges_s.tolist() for part in parts] == [
        [float(edge) for edge in range(number + 1)] for number in range(1, 8)
    ]
    assert [part.probabilities[:, 0].tolist() for part in parts] == [
        [float(row) for row in range(1, number + 1)] for number in range(1, 8)
    ]


def test_no_files_of_an_unchecked_recording(
    page: AppTest, beeps: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its check was cancelled, and its rows are complete: of its levels and its length there are estimates alone."""
    for module in (core.audio, clips, clip_notes):
        monkeypatch.setattr(module, "MAX_SECONDS", 61.0)
    monkeypatch.setattr(long_recordings.LongRecordings, "check", lambda *_: None)
    samples, rate = soundfile.read(io.BytesIO(beeps))
    minute = io.BytesIO()
    soundfile.write(minute, samples[90 * rate : 152 * rate], rate, format="FLAC")
    page.file_uploader[0].upload("unchecked.flac", minute.getvalue(), "audio/flac")
    page.run()
    said = "The events can be downloaded once all of the recording is checked."
    for _ in range(300):
        if said in [caption.value for caption in page.caption]:
            break
        time.sleep(0.1)
        page.run()
    assert said in [caption.value for caption in page.caption]
    assert not page.get("download_button")
    assert "Make the player" in [button.label for button in page.button]
    assert not page.exception


def test_longer_than_the_longest_is_refused(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashboard.server.clips.LONGEST_S", 604.0)
    assert upload_limit.LONGEST_S == 5_400
    with pytest.raises(AudioError, match="lasts 605 s; recordings of up to 604 s are accepted"):
        Server().long_clip(source)


def test_the_picture_and_the_player_s_file(source: Source) -> None:
    server = Server()
    clip, long = long_clip(server, source), server.long_recordings
    assert long.opened(source, clip) is None
    long.start(source, clip)
    waited_for(lambda: long.opened(source, clip))
    opened = long.opened(source, clip)
    assert long.status(source) is None
    samples, rate = soundfile.read(io.BytesIO(opened.sound), dtype="float32")
    assert (opened.sound_type, rate, len(samples)) == ("audio/ogg", SAMPLE_RATE, clip.samples)
    loud = np.abs(samples).reshape(SECONDS, SAMPLE_RATE).max(axis=1) > 0.1
    assert np.flatnonzero(loud).tolist() == [*range(100, 130), *range(500, 530)]
    # Columns of 17 hops, 0.17 s: the fewest hops with which all of it fits into 3,600.
    assert opened.picture.levels.shape == (64, -(-(SECONDS * 100 + 1) // 17))
    column_s = np.arange(opened.picture.levels.shape[1]) * 0.17
    sounding = opened.picture.levels.max(axis=0) > opened.picture.levels.max() - 40
    assert column_s[sounding][0] == pytest.approx(100, abs=0.2)
    assert column_s[sounding][-1] == pytest.approx(530, abs=0.2)


def test_rows_grow_and_a_cancelled_or_removed_recording_ends_them(
    source: Source, embedded: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timelines_module, "_FIRST_S", 0.0)
    server = Server()
    clip, timelines = begun(server, source), server.long_recordings.timelines
    timelines.start(source, EMBEDDED_PAIR, clip)
    waited_for(lambda: timelines.known(source, EMBEDDED_PAIR))
    part = timelines.known(source, EMBEDDED_PAIR)
    assert not part.complete
    assert 0 < part.candidate.edges_s[-1] < SECONDS
    timelines.cancel(source, EMBEDDED_PAIR)
    waited_for(lambda: not timelines.status(source, EMBEDDED_PAIR).active)
    assert timelines.status(source, EMBEDDED_PAIR).message == "Stopped."
    timelines.start(source, EMBEDDED_PAIR, clip)
    waited_for(lambda: timelines.status(source, EMBEDDED_PAIR).done)
    source.recording.data = None
    waited_for(lambda: not timelines.status(source, EMBEDDED_PAIR).active)
    assert "no longer in this server's memory" in timelines.status(source, EMBEDDED_PAIR).message
    waited_for(lambda: POOL._busy == 0)  # the decoder is free again


def test_a_fifth_job_has_to_wait(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server()
    clip, long = long_clip(server, source), server.long_recordings
    release, drawn = threading.Event(), server.clip(Source.of_example("clock", "Clock"))
    monkeypatch.setattr(long_recordings, "drawn", lambda *_: release.wait(20) and drawn)
    sources = [Source(f"{number}.flac", f"{number}", source.recording) for number in range(5)]
    for each in sources:
        long.start(each, clip)
    statuses = [long.status(each) for each in sources]
    release.set()
    waited_for(lambda: all(long.opened(each, clip) for each in sources[:4]))
    assert [status.active for status in statuses] == [True] * 4 + [False]
    assert (
        statuses[4].message == "This server is busy with other long recordings. Try again in a few minutes."
    )


def test_all_jobs_at_once_leave_a_decoder_for_what_is_opened(
    source: Source, wav: Callable[..., bytes]
) -> None:
    """Each keeps one between its steps, and the recording that is opened has the queue's slot while it waits for one."""
    server = Server()
    clip = long_clip(server, source)
    held = [clip.blocks() for _ in range(long_recordings._MOST)]
    assert [len(next(blocks)) for blocks in held] == [10 * SAMPLE_RATE] * 4
    assert POOL._busy == 4
    assert server.clip(Source.of_bytes("a.wav", wav(1.0))).clip.duration_s == 1
    for blocks in held:
        blocks.close()
    assert POOL._busy == 0


def test_the_tags_of_the_whole_are_the_means_of_the_rows(source: Source, embedded: None) -> None:
    server = Server()
    clip = long_clip(server, source)
    sides = []
    for number, name in enumerate(EMBEDDED_PAIR):
        classes = load_tagger(name).classes
        values = np.zeros((4, len(classes)), np.float32)
        values[:, 3] = (1.0, 1.0, 0.5, 0.5 - number)
        sides.append(timelines_module.Timeline(name, classes, np.arange(5.0), values))
    result = server.long_recordings.comparison(clip, Pair(*sides, complete=True), top_k=5, threshold=0.7)
    assert result.baseline.probabilities[3] == 0.75
    assert result.candidate.probabilities[3] == 0.5
    assert result.agreement.lost == (sides[0].classes.names[3],)
    assert result.clip is clip


def test_the_page(page: AppTest, beeps: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows first, and once all of them are there what a short recording has; here a minute counts as long."""
    for module in (core.audio, clips, clip_notes):
        monkeypatch.setattr(module, "MAX_SECONDS", 61.0)
    samples, rate = soundfile.read(io.BytesIO(beeps))
    minute = io.BytesIO()
    soundfile.write(minute, samples[90 * rate : 152 * rate], rate, format="FLAC")
    page.file_uploader[0].upload("minute.flac", minute.getvalue(), "audio/flac")
    page.run()
    assert page.header[0].value == "Tags over time, and then those of the whole recording"
    assert "computed in the background" in page.info[0].value
    assert not page.exception
    for _ in range(300):
        if page.header[0].value != "Tags over time, and then those of the whole recording":
            break
        time.sleep(0.1)
        page.run()
    assert not page.exception
    assert "timeline" in " ".join(each.proto.component_name for each in page.get("bidi_component"))
    assert [chart.proto.spec for chart in page.get("plotly_chart")]
    labels = [element.proto.label for element in page.get("download_button")]
    assert labels == [
        "CSV",
        "JSON",
        "Audacity labels, Demo CNN14",
        "Audacity labels, Demo E-PANNs",
    ]  # of its events alone
    assert "are the means over these" in page.info[0].value
