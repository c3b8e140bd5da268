"""Long recordings: those of more than a minute get their tags over time here, those of more than ten also their picture and their player's file.

Jobs do it piece by piece, and few at a time, since each of them keeps a decoder. One of more than ten minutes is first decoded once to check it,
and the rows of its tags begin meanwhile. Nothing is decoded into memory as a whole. What there is of a
recording: the file, which counts among its visitor's recordings; the player's file; and both networks' rows.
"""

from __future__ import annotations

from dataclasses import replace

from core.audio import StreamedClip
from core.compare import Comparison, agreement
from core.errors import AudioError
from core.events import Timeline
from core.tags import Tags
from core.windows import window_mean
from dashboard import formats
from dashboard.server.clips import OpenedClip, decoded, drawn
from dashboard.server.inference_queue import InferenceQueue
from dashboard.server.jobs import Jobs, JobStatus, Step
from dashboard.server.models import Models
from dashboard.server.source import Source
from dashboard.server.timelines import SETTINGS, Pair, Timelines

COLUMNS = 3_600
"""Of the spectrogram: a second each of an hour."""

_MOST = 4
"""Jobs at once: the check or the picture, and the rows, of two recordings. An hour's rows take 15 MB, its player's file 25 to 30 MB, a decoder 26 MB; one of
``core.audio.pool``'s has to be left for a recording that is opened, which holds the queue's slot while it waits for it."""

CHECKING = "Checking"
"""What a check is ``doing``."""

_BUDGET_BYTES = 160 * 2**20
_BUSY = "This server is busy with other long recordings. Try again in a few minutes."


class LongRecordings:
    """Starts and finds the jobs; ``timelines`` computes the rows of all recordings that are decoded anew at each pass.

    Parameters
    ----------
    queue : where the jobs wait for their slots.
    models : the networks.
    """

    def __init__(self, queue: InferenceQueue, models: Models) -> None:
        self._jobs = Jobs(queue, _BUDGET_BYTES, most=_MOST, busy=_BUSY)
        self._models = models
        self.timelines = Timelines(self._jobs, models, self.checked)

    def checked(self, source: Source) -> StreamedClip | None:
        """The recording once all of it has been decoded; None until then. Raises ``AudioError`` where it was refused, or is gone."""
        source.check()
        outcome: StreamedClip | str | None = self._jobs.result(self._check_key(source))
        if isinstance(outcome, str):
            raise AudioError(outcome)
        return None if outcome is None else replace(outcome, source=source.data)

    def check(self, source: Source) -> None:
        """Decode a recording in the background, unless that is under way or done."""

        def work(step: Step) -> StreamedClip | str:
            percent = -1

            def on_progress(share: float) -> None:
                nonlocal percent
                if int(100 * share) > percent:  # at every block it would wait for a row of tags
                    percent = int(100 * share)
                    source.check()
                    step(percent, 100, CHECKING)

            try:
                clip = decoded(source, on_progress)
            except AudioError as error:
                source.check()  # a recording that is gone says nothing of its file
                return str(error)
            assert isinstance(clip, StreamedClip)
            return replace(clip, source=b"")  # whose bytes the visitor's recordings have

        self._jobs.start(self._check_key(source), work, CHECKING)

    def check_status(self, source: Source) -> JobStatus | None:
        """How far the check is; None where there is none, or it is done."""
        return self._jobs.status(self._check_key(source))

    def start(self, source: Source, clip: StreamedClip) -> None:
        """Draw a recording and encode it for the player in the background, unless that is under way or done."""

        def work(step: Step) -> OpenedClip:
            def on_share(share: float, doing: str) -> None:
                source.check()
                step(round(100 * share), 100, doing)

            # Ogg Vorbis, since browsers find any place in it; in an MP3 of varying bit rate, as uploaded, they err by seconds.
            return replace(drawn(clip, "OGG", COLUMNS, on_share), clip=replace(clip, source=b""))

        self._jobs.start(self._key(source), work, "Drawing")

    def status(self, source: Source) -> JobStatus | None:
        """How far the job is; None where there is none, or its result is there."""
        return self._jobs.status(self._key(source))

    def cancel(self, source: Source) -> None:
        """Stop the check or the job after its present piece."""
        self._jobs.cancel(self._check_key(source))
        self._jobs.cancel(self._key(source))

    def opened(self, source: Source, clip: StreamedClip) -> OpenedClip | None:
        """The recording with its picture and its player's file; None until they are there."""
        opened: OpenedClip | None = self._jobs.result(self._key(source))
        return None if opened is None else replace(opened, clip=clip)

    def comparison(self, clip: StreamedClip, pair: Pair, *, top_k: int, threshold: float) -> Comparison:
        """Both networks on the whole recording, as far as there are rows. Raises ``ModelError``."""
        baseline, candidate = (self._mean(side) for side in (pair.baseline, pair.candidate))
        agreed = agreement(baseline, candidate, top_k=top_k, threshold=threshold)
        return Comparison(clip, baseline, candidate, agreed)

    def _mean(self, side: Timeline) -> Tags:
        """A network's tags of the whole: the means over its rows, as those of a shorter clip are the means over its windows."""
        return Tags(
            side.model,
            side.classes,
            window_mean(side.probabilities),  # type: ignore[arg-type]  # (rows, classes)
            self._models.tagger(side.model).runtime,
            float("nan"),  # not measured: it is spread over the job, among other requests
            tuple(zip(side.edges_s.tolist(), side.edges_s[1:].tolist(), strict=False)),
            notes=(f"The probabilities are the means over windows of {formats.seconds(SETTINGS.window_s)}.",),
            output=self._models.entry(side.model).output,
        )

    @staticmethod
    def _check_key(source: Source) -> tuple[str, str]:
        return ("check", source.key)

    @staticmethod
    def _key(source: Source) -> tuple[str, str]:
        return ("long", source.key)
