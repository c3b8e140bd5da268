"""Tag recordings with the network beside this file: python tag.py FILE...   (onnxruntime, numpy and soundfile)"""

import csv
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnxruntime
import soundfile

HERE = Path(__file__).resolve().parent
RATE = 32_000  # Hz: the network's sample rate
WINDOW = 30 * RATE  # a longer recording goes in equal windows, and the probabilities are averaged


def read(path: str) -> np.ndarray:
    """One channel at 32 kHz, resampled by way of its Fourier transform."""
    sound, rate = soundfile.read(path, dtype="float32", always_2d=True)
    mono = sound.mean(axis=1)
    length = round(len(mono) * RATE / rate)
    if length < 1:
        sys.exit(f"{path} contains no samples.")
    if rate != RATE:
        mono = np.fft.irfft(np.fft.rfft(mono)[: length // 2 + 1], length) * (length / len(mono))
    return mono.astype(np.float32)


def main(paths: list[str]) -> None:
    session = onnxruntime.InferenceSession(str(HERE / "model.onnx"), providers=["CPUExecutionProvider"])
    with open(HERE / "classes.csv", encoding="utf-8", newline="") as file:
        names = [row["name"] for row in csv.DictReader(file)]
    for path in paths or sys.exit(__doc__):
        waveform = read(path)
        count = -(-len(waveform) // WINDOW)
        edges = [round(len(waveform) * edge / count) for edge in range(count + 1)]
        parts = [session.run(None, {"waveform": waveform[None, a:b]})[0][0] for a, b in pairwise(edges)]
        probabilities = np.mean(parts, axis=0)  # a part under 0.31 s is padded inside the model
        sys.stdout.write(path + "\n")
        for index in np.argsort(-probabilities, kind="stable")[:10]:
            sys.stdout.write(f"{probabilities[index]:.4f}  {names[index]}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
