"""Tag recordings with the network beside this file: python tag.py [--int8] FILE...   (onnxruntime, numpy and soundfile)

python tag.py --self-test runs every model here on the recordings in test_wavs and compares with what the network itself outputs.
--int8 tags with model.int8.onnx in place of model.onnx.
"""

import csv
import hashlib
import json
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


class Network:
    """One of the ONNX files."""

    def __init__(self, name: str) -> None:
        self.session = onnxruntime.InferenceSession(str(HERE / name), providers=["CPUExecutionProvider"])
        notes = self.session.get_modelmeta().custom_metadata_map
        self.rate, self.fixed = int(notes["sample_rate"]), int(notes["window_samples"] or 0)

    def run(self, path: str) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities (classes,) and embedding (units,) of a recording, averaged over equal windows where it is over 30 s."""
        waveform, fixed = read(path, self.rate), self.fixed
        window = fixed or 30 * self.rate
        if len(waveform) < fixed:  # a part that is too short for another network is padded inside the model
            waveform = np.pad(waveform, (0, fixed - len(waveform)))
        count = -(-len(waveform) // window)
        last = len(waveform) - (fixed or len(waveform) / count)
        starts = [round(last * part / max(1, count - 1)) for part in range(count)]
        ends = [start + fixed for start in starts] if fixed else [*starts[1:], len(waveform)]
        parts = [
            self.session.run(["probabilities", "embedding"], {"waveform": waveform[None, a:b]})
            for a, b in zip(starts, ends, strict=True)
        ]
        probabilities, embeddings = zip(*parts, strict=True)
        return np.mean(probabilities, axis=0)[0], np.mean(embeddings, axis=0)[0]


def self_test() -> int:
    """Run every model on the recordings and print by how much it differs from the network; returns how many failed."""
    stored = json.loads((HERE / "self_test.json").read_text(encoding="utf-8"))
    failed = 0
    for name, stated in stored["models"].items():
        problems, largest, relative, same = [], 0.0, 0.0, 0
        try:
            if hashlib.sha256((HERE / name).read_bytes()).hexdigest() != stated["sha256"]:
                problems.append("the file is not the one that was exported (sha256)")
            network = Network(name)
            for recording in stored["recordings"]:
                probabilities, embedding = network.run(str(HERE / recording["file"]))
                wanted, units = np.array(recording["probabilities"]), np.array(recording["embedding"])
                # np.maximum keeps NaN, which max() may drop
                largest = np.maximum(largest, np.abs(probabilities - wanted).max())
                relative = np.maximum(
                    relative,
                    np.abs(embedding - units).max() / max(np.abs(units).max(), np.finfo(np.float32).tiny),
                )
                same += int(probabilities.argmax() == wanted.argmax())
        except Exception as error:  # whatever onnxruntime raises for a damaged file
            problems.append(" ".join(str(error).split())[:200])
        else:
            for of, found in (("probability", largest), ("embedding", relative)):
                if not found <= stated[of]:
                    problems.append(f"{of} differs by more than {stated[of]:.2g}")
        sys.stdout.write(
            f"{name} ({stated['about']}): {'FAILED: ' + '; '.join(problems) if problems else 'passed'}\n"
            f"  a probability differs from the network's by up to {largest:.2g} (on more recordings, when it was exported: {stated['measured']:.2g}), "
            f"the embedding by {100 * relative:.2g}%; same first tag on {same} of {len(stored['recordings'])} recordings\n"
        )
        failed += bool(problems)
    return failed


def main(arguments: list[str]) -> None:
    if arguments == ["--self-test"]:
        sys.exit(min(1, self_test()))
    int8 = "--int8" in arguments
    paths = [argument for argument in arguments if argument != "--int8"] or sys.exit(__doc__)
    network = Network("model.int8.onnx" if int8 else "model.onnx")
    with open(HERE / "classes.csv", encoding="utf-8", newline="") as file:
        names = [row["name"] for row in csv.DictReader(file)]
    for path in paths:
        probabilities, _ = network.run(path)
        sys.stdout.write(path + "\n")
        for index in np.argsort(-probabilities, kind="stable")[:10]:
            sys.stdout.write(f"{probabilities[index]:.4f}  {names[index]}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
