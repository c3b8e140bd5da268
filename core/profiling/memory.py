"""The memory of one pass: of ``Cnn14``'s activations, from its shapes; and the growth of a whole process, measured.

The convention of the first: the largest sum of bytes of all tensors that are alive at once while one waveform (batch of one)
goes through ``Cnn14.probabilities`` in float32: the waveform itself, the spectra of the front end, the log-mel, and the feature maps.
A tensor is alive from its allocation until nothing refers to it any more. Workspace of an operator (the rearranged weights and maps of
a convolution) is not a tensor of the network and is not included; ``resident_growth`` measures it along with the rest.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from core.models.cnn import LAYERS, Cnn14Config, ends_block
from core.models.frontend import FRAMES_AT_ONCE, FRONT_END
from core.profiling.counts import map_sizes, samples_of
from core.windows import windows

_FLOAT = 4


def activations(config: Cnn14Config, seconds: float = 10.0) -> dict[str, int]:
    """Most bytes alive at once during each step: ``front end``, C1..C12, ``fc1`` and ``fc_audioset``, in the network's order.

    Of a clip that is tagged in several windows, those of its longest window. Raises ``ModelError`` for an impossible length.
    """
    samples = max(end - start for start, end in windows(samples_of(seconds)))
    frames, bins = FRONT_END.frames(samples), FRONT_END.n_fft // 2 + 1
    waveform, logmel = _FLOAT * samples, _FLOAT * frames * FRONT_END.mel_bins
    peaks = {"front end": waveform + _spectra(samples, frames, bins)}
    # The caller holds the waveform to the end, and the network its log-mel until the last map is computed.
    held = waveform + logmel
    layer_input = logmel  # C1's is the log-mel after its batch norm
    for layer, filters, (height, width) in zip(LAYERS, config.widths, map_sizes(samples), strict=True):
        output = _FLOAT * filters * height * width
        # While the batch norm writes its output, the convolution's output and its input are alive.
        peaks[layer] = held + layer_input + 2 * output
        layer_input = output
        if ends_block(layer) and layer != LAYERS[-1]:
            layer_input = _FLOAT * filters * (height // 2) * (width // 2)
    height = map_sizes(samples)[-1][0]
    summary, embedding, classes = (_FLOAT * n for n in (config.widths[-1], config.embedding, config.classes))
    # The mean over bands; then its maximum, its mean and their sum, one after another.
    peaks["fc1"] = waveform + layer_input + max(summary * (height + 3), summary + embedding)
    # The sigmoid runs after the network has returned and its maps have been freed.
    peaks["fc_audioset"] = waveform + max(layer_input + embedding + classes, 2 * classes)
    return peaks


def activation_bytes(config: Cnn14Config, seconds: float = 10.0) -> int:
    """The peak of ``activations``: the most memory of one pass besides the weights."""
    return max(activations(config, seconds).values())


def _spectra(samples: int, frames: int, bins: int) -> int:
    """The front end's own peak: its windowed frames, the complex spectrum, and the squares that are added up."""
    padded = _FLOAT * (samples + FRONT_END.n_fft)
    if frames <= FRAMES_AT_ONCE:
        return max(padded + _transform(frames, bins), _power(frames, bins))
    peak = 0
    for done in range(0, frames, FRAMES_AT_ONCE):  # the log-mels of earlier pieces are kept
        piece = min(FRAMES_AT_ONCE, frames - done)
        finished = _FLOAT * done * FRONT_END.mel_bins
        peak = max(peak, padded + finished + max(_transform(piece, bins), _power(piece, bins)))
    return max(peak, padded + 2 * _FLOAT * frames * FRONT_END.mel_bins)  # then they are concatenated


def _transform(frames: int, bins: int) -> int:
    return _FLOAT * frames * FRONT_END.n_fft + 2 * _FLOAT * frames * bins


def _power(frames: int, bins: int) -> int:
    return 2 * _FLOAT * frames * bins + 3 * _FLOAT * frames * bins


def resident_growth(run: Callable[[], object]) -> int | None:
    """Bytes by which the whole process grows while ``run`` runs: its peak resident memory less what it was before.

    Read from Linux' ``VmHWM``, after resetting it; None where a system cannot do that. Memory that an earlier run left with the
    allocator is reused and not seen, so measure the largest run first.
    """
    try:
        Path("/proc/self/clear_refs").write_text("5")  # proc(5): sets VmHWM back to the present VmRSS
        before = _status_bytes("VmRSS")
    except OSError:
        return None
    run()
    return max(0, _status_bytes("VmHWM") - before)


def _status_bytes(key: str) -> int:
    match = re.search(rf"^{key}:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    if match is None:
        raise OSError(f"/proc/self/status has no {key}")
    return 1024 * int(match[1])
