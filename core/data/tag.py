"""Tag recordings with the network beside this file: python tag.py FILE...   (onnxruntime, numpy and soundfile)"""

import csv
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import soundfile

HERE = Path(__file__).resolve().parent


def read(path: str, rate: int) -> np.ndarray:
    """One channel at the network's rate, resampled by way of its Fourier transform."""
    sound, recorded = soundfile.read(path, dtype="float32", always_2d=True)
    mono = sound.mean(axis=1)
    length = round(len(mono) * rate / recorded)
    if length < 1:
        sys.exit(f"{path} contains no samples.")
    if rate != recorded:
        spectrum = np.fft.rfft(mono)[: length // 2 + 1]
        mono = np.fft.irfft(spectrum, length) * (length / len(mono))
    return mono.astype(np.float32)


def main(paths: list[str]) -> None:
    session = onnxruntime.InferenceSession(str(HERE / "model.onnx"), providers=["CPUExecutionProvider"])
    notes = session.get_modelmeta().custom_metadata_map
    rate, fixed = int(notes["sample_rate"]), int(notes["window_samples"] or 0)
    window = (
        fixed or 30 * rate
    )  # a longer recording goes in equal windows, and the probabilities are averaged
    with open(HERE / "classes.csv", encoding="utf-8", newline="") as file:
        names = [row["name"] for row in csv.DictReader(file)]
    for path in paths or sys.exit(__doc__):
        waveform = read(path, rate)
        if len(waveform) < fixed:  # a part that is too short for another network is padded inside the model
            waveform = np.pad(waveform, (0, fixed - len(waveform)))
        count = -(-len(waveform) // window)
        last = len(waveform) - (fixed or len(waveform) / count)
        starts = [round(last * part / max(1, count - 1)) for part in range(count)]
        ends = [start + fixed for start in starts] if fixed else [*starts[1:], len(waveform)]
        parts = [
            session.run(None, {"waveform": waveform[None, a:b]})[0][0]
            for a, b in zip(starts, ends, strict=True)
        ]
        probabilities = np.mean(parts, axis=0)
        sys.stdout.write(path + "\n")
        for index in np.argsort(-probabilities, kind="stable")[:10]:
            sys.stdout.write(f"{probabilities[index]:.4f}  {names[index]}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
