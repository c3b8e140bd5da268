"""All live streams, and the thread that runs their networks.

It takes the newest window of the stream that has waited longest: where the processor is too slow windows are left out rather than queued. It
computes in the inference queue, one network at a time, so that other requests never wait for more than one pass.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable

import numpy as np

from core.errors import PannscopeError
from core.runtime.background import BackgroundTask
from core.tagging import Tagger
from dashboard import formats
from dashboard.server.inference_queue import InferenceQueue
from dashboard.server.live_network import LiveNetwork, Output
from dashboard.server.live_stream import HOP_S, LiveSettings, LiveStream

MOST_ACTIVE = 2
"""Streams at a time; each takes its share of the processor for as long as a microphone is on."""

MOST_KEPT = 64
"""Streams whose history is kept, paused ones included."""

_REST = 1.5  # the networks rest for half as long as they ran, so that pages are drawn

_log = logging.getLogger(__name__)


class LiveStreams:
    """Opens and finds streams; the thread runs while one is active.

    Parameters
    ----------
    queue : where a network waits for its slot.
    tagger : loads a network by its name, or returns it where it is loaded.
    clock : seconds, as ``time.monotonic``.
    """

    def __init__(
        self,
        queue: InferenceQueue,
        tagger: Callable[[str], Tagger],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queue, self._tagger, self._clock = queue, tagger, clock
        self._streams: dict[
            str, LiveStream
        ] = {}  # token -> stream, the one that was opened or found last at the end
        self._changed = threading.Condition()
        self._task: BackgroundTask | None = None

    def open(self, owner: str | None, settings: LiveSettings) -> str:
        """Begin a stream; the token that names it, which nobody else can guess. ``owner`` is the visitor's cookie, where there is one."""
        token = secrets.token_urlsafe(24)
        with self._changed:
            self._streams[token] = LiveStream(owner, settings, self._clock)
            idle = [each for each, stream in self._streams.items() if not stream.active and each != token]
            for oldest in idle[: max(0, len(self._streams) - MOST_KEPT)]:
                del self._streams[oldest]
        return token

    def find(self, token: str) -> LiveStream | None:
        """The stream of that name; None where there is none, any more."""
        with self._changed:
            stream = self._streams.pop(token, None)
            if stream is not None:
                self._streams[token] = stream
            return stream

    def push(self, stream: LiveStream, start: int, rate: int, samples: np.ndarray) -> bool:
        """Take a piece of a stream's sound, and see to it that the networks run; False where too many others are active."""
        with self._changed:
            others = [each for each in self._streams.values() if each is not stream]
            if sum(each.active for each in others) >= MOST_ACTIVE:
                return False
            for each in others:
                if not each.active:
                    each.rest()
            stream.receive(start, rate, samples)
            self._changed.notify()
            if self._task is None:
                self._task = BackgroundTask(self._work, "live", self._end).start()
            return True

    def _work(self, cancelled: threading.Event) -> None:
        while not cancelled.is_set():
            with self._changed:
                streams = list(self._streams.values())
                now = self._clock()
                waiting = [stream for stream in streams if stream.due <= now and stream.waiting]
                if not waiting:
                    if not any(stream.active for stream in streams):
                        self._task = None  # the next piece of sound starts another
                        return
                    self._changed.wait(0.02 if any(stream.due > now for stream in streams) else 0.25)
                    continue
            self._compute(min(waiting, key=lambda stream: stream.due))

    def _end(self, error: Exception | None) -> None:
        if error is not None:
            with self._changed:
                self._task = None

    def _compute(self, stream: LiveStream) -> None:
        settings, sound = stream.sound()
        began, took_s = self._clock(), 0.0
        outputs: dict[str, Output] = {}
        try:
            networks = self._networks(stream, settings)
            for name, network in networks.items():
                with self._queue.slot():
                    started = time.perf_counter()
                    outputs[name] = network.run(sound)
                    took_s += time.perf_counter() - started
        except PannscopeError as error:
            stream.fail(formats.without_folders(str(error)))
        except Exception:
            _log.exception("a live stream's networks failed")
            stream.fail("The networks failed on this sound; see the server's log.")
        else:
            done = [(networks[name].tagger.classes, outputs[name]) for name in settings.names]
            stream.take(settings, sound, done, took_s)
        stream.due = began + max(HOP_S * 0.9, _REST * took_s)

    def _networks(self, stream: LiveStream, settings: LiveSettings) -> dict[str, LiveNetwork]:
        """The stream's networks by their names, with what they keep; made anew where a setting or a file has changed."""
        networks = {}
        for name in settings.names:
            tagger, network = self._tagger(name), stream.networks.get(name)
            if network is None or network.tagger is not tagger or network.window_s != settings.window_s:
                network = LiveNetwork(tagger, settings.window_s)
            networks[name] = network
        stream.networks = networks
        return networks
