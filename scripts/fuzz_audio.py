"""Decode damaged recordings of every format through the pool, and report what crashed a worker, took longest, and needed most memory.

    python scripts/fuzz_audio.py 20000 --state /tmp/fuzz.json

Each file is made from its number alone, so that any one can be made again (``--only 1234 --keep x.bin``). The state is saved every hundred
files, and a second call goes on where the first ended.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile

from core.audio import POOL, load_clip
from core.errors import AudioError

RATE = 16_000
SLOW_S, LARGE_MB = 5.0, 500.0  # what no file may exceed

_BY_SOUNDFILE = (
    *(
        ("WAV", subtype)
        for subtype in ("PCM_16", "PCM_24", "FLOAT", "ULAW", "ALAW", "IMA_ADPCM", "MS_ADPCM", "GSM610")
    ),
    *(
        ("WAVEX", "PCM_16"),
        ("RF64", "PCM_16"),
        ("W64", "PCM_16"),
        ("AIFF", "PCM_16"),
        ("AIFF", "ULAW"),
        ("AU", "FLOAT"),
    ),
    *(
        ("CAF", "PCM_24"),
        ("CAF", "ALAC_16"),
        ("FLAC", "PCM_16"),
        ("OGG", "VORBIS"),
        ("OGG", "OPUS"),
        ("MP3", "MPEG_LAYER_III"),
    ),
)
_BY_FFMPEG = (
    *(
        ("ipod", "aac"),
        ("ipod", "alac"),
        ("mp4", "aac"),
        ("mp4", "libmp3lame"),
        ("mp4", "ac3"),
        ("mov", "pcm_s16le"),
        ("3gp", "aac"),
    ),
    *(
        ("matroska", "flac"),
        ("matroska", "pcm_s24le"),
        ("matroska", "libopus"),
        ("matroska", "ac3"),
        ("webm", "libopus"),
    ),
    *(
        ("webm", "libvorbis"),
        ("adts", "aac"),
        ("ogg", "flac"),
        ("ogg", "speex"),
        ("wav", "libmp3lame"),
        ("matroska", "dca"),
        ("matroska", "wavpack"),
    ),
)


def originals() -> list[tuple[str, bytes]]:
    """A third of a second of noise and a tone in every container and codec that this machine can write: (name, bytes)."""
    rng = np.random.default_rng(0)
    made = []
    for channels in (1, 2):
        tone = 0.3 * np.sin(np.arange(RATE // 3) / 5)[:, None] * np.ones(channels)
        samples = (tone + 0.05 * rng.standard_normal(tone.shape)).astype(np.float32)
        recipes = [(form, name, _by_soundfile) for form, name in _BY_SOUNDFILE]
        for form, name, write in (*recipes, *((form, name, _by_ffmpeg) for form, name in _BY_FFMPEG)):
            with contextlib.suppress(
                Exception
            ):  # an encoder that this build lacks, or that has no such layout
                made.append((f"{form}/{name}/{channels}", write(samples, form, name)))
    return made


def _by_soundfile(samples: np.ndarray, form: str, subtype: str) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, samples, RATE, format=form, subtype=subtype)
    return out.getvalue()


def _by_ffmpeg(samples: np.ndarray, form: str, codec: str) -> bytes:
    out, layout = io.BytesIO(), "mono" if samples.shape[1] == 1 else "stereo"
    rate = 48_000 if codec in ("libopus", "ac3", "dca") else RATE
    with av.open(out, "w", format=form, options={"strict": "-2"}) as container:
        stream: Any = container.add_stream(codec, rate=rate, layout=layout, options={"strict": "-2"})
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="flt", layout=layout)
        frame.sample_rate = rate
        resampler = av.AudioResampler(
            format=stream.codec_context.format.name,
            layout=layout,
            rate=rate,
            frame_size=stream.codec_context.frame_size or 1_024,
        )
        for part in (*resampler.resample(frame), *resampler.resample(None)):
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return out.getvalue()


def mutated(number: int, files: list[tuple[str, bytes]]) -> tuple[str, bytes]:
    """The damaged file of that number: bytes flipped or set, a word of the header replaced, a part cut out, doubled, or another file's."""
    rng = np.random.default_rng(number)
    name, whole = files[number % len(files)]
    data = bytearray(whole)
    kinds = []
    for _ in range(int(rng.integers(1, 4))):
        kind = str(rng.choice(["flip", "header", "word", "cut", "remove", "double", "splice"]))
        kinds.append(kind)
        at = int(rng.integers(len(data))) if data else 0
        length = int(rng.integers(1, max(2, len(data) // 2)))
        match kind:
            case "flip":
                for place in rng.integers(0, max(1, len(data)), int(rng.integers(1, 40))):
                    data[place : place + 1] = bytes([int(rng.integers(256))])
            case "header":
                for place in rng.integers(0, min(512, max(1, len(data))), int(rng.integers(1, 8))):
                    data[place : place + 1] = bytes([int(rng.choice([0, 1, 127, 128, 254, 255]))])
            case "word":
                place = int(rng.integers(0, min(2_048, max(1, len(data)))))
                word = int(
                    rng.choice([0, 1, 0x7FFF, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 0x00FF_FFFF])
                )
                data[place : place + 4] = word.to_bytes(4, "little" if rng.integers(2) else "big")
            case "cut":
                del data[at:]
            case "remove":
                del data[at : at + length]
            case "double":
                data[at:at] = data[at : at + length]
            case "splice":
                other = files[int(rng.integers(len(files)))][1]
                data[at : at + length] = other[int(rng.integers(len(other))) :][:length]
    return f"{number} {name} {'+'.join(kinds)}", bytes(data)


def worker_peak_mb() -> float:
    """The most memory that the idle worker has had, in MB; 0 where the system does not say."""
    pid = POOL.idle_pid()
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def run(count: int, path: Path) -> dict[str, Any]:
    """Decode files up to number ``count``, from the state's on."""
    state: dict[str, Any] = {"done": 0, "outcomes": {}, "worker_ended": [], "slowest": [], "peak_mb": []}
    if path.exists():
        state = json.loads(path.read_text())
    files, outcomes = originals(), Counter(state["outcomes"])
    peak = 0.0
    for number in range(state["done"], count):
        name, data = mutated(number, files)
        started = time.perf_counter()
        try:
            clip = load_clip(data, name="x")
            outcome = "decoded with a note" if clip.notes else "decoded"
        except AudioError as error:
            outcome = "refused"
            if "the process that decoded it" in str(error) or "than any recording of its" in str(error):
                outcome = "worker ended"
                state["worker_ended"].append(f"{name}: {error}"[:240])
        seconds = time.perf_counter() - started
        outcomes[outcome] += 1
        state["slowest"] = sorted([*state["slowest"], [round(seconds, 2), name]], reverse=True)[:10]
        now = worker_peak_mb()
        if now > peak + 1:
            state["peak_mb"] = sorted([*state["peak_mb"], [round(now), name]], reverse=True)[:10]
        peak = now
        if (number + 1) % 100 == 0 or number + 1 == count:
            state |= {"done": number + 1, "outcomes": dict(outcomes), "originals": len(files)}
            path.with_suffix(".part").write_text(json.dumps(state, indent=1))
            os.replace(path.with_suffix(".part"), path)
    return state


def main() -> None:
    """Parse the command line, run, report; exit code 1 where a file crossed a limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("count", type=int, nargs="?", default=1_000)
    parser.add_argument("--state", type=Path, default=Path("fuzz_audio.json"))
    parser.add_argument("--only", type=int, help="make this file alone, and write it to --keep")
    parser.add_argument("--keep", type=Path, default=Path("fuzzed.bin"))
    options = parser.parse_args()
    if options.only is not None:
        name, data = mutated(options.only, originals())
        options.keep.write_bytes(data)
        print(f"{name}: {len(data)} bytes in {options.keep}")
        return
    state = run(options.count, options.state)
    print(json.dumps(state, indent=1))
    slow = state["slowest"] and state["slowest"][0][0] > SLOW_S
    raise SystemExit(int(bool(slow or (state["peak_mb"] and state["peak_mb"][0][0] > LARGE_MB))))


if __name__ == "__main__":
    main()
