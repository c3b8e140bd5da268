"""What the package panns_inference offers, by the same names and calls: its users change one import.

from core.panns_inference import AudioTagging, SoundEventDetection, labels
"""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from core.checkpoints import fetch
from core.classes import ClassSet
from core.errors import AudioError, ModelError
from core.models.decision_level import DecisionLevelMax
from core.tagging import Tagger, load_tagger

labels = list(ClassSet.audioset().names)
"""AudioSet's 527 class names, in the order of the outputs."""


class _Inference:
    """What both of the package's classes do: find the checkpoint, say which it is, and load it."""

    _name: str
    _file: str

    def __init__(
        self,
        model: Tagger | str | None = None,
        checkpoint_path: str | Path | None = None,
        device: str = "cuda",
    ) -> None:
        self.device = "cuda" if device == "cuda" and torch.cuda.is_available() else "cpu"
        self.tagger = self._loaded(model, checkpoint_path)
        self.labels = list(self.tagger.classes.names)
        self.classes_num = len(self.labels)
        on_cuda = self.device == "cuda"
        print(f"GPU number: {torch.cuda.device_count()}" if on_cuda else "Using CPU.")

    def _loaded(self, model: Tagger | str | None, checkpoint_path: str | Path | None) -> Tagger:
        if isinstance(model, Tagger):
            return model
        if not isinstance(model, str | None):
            raise ModelError(
                f"model is a Tagger or a name of `pannscope models`; got {type(model).__name__}. Give a network's weights as checkpoint_path."
            )
        # On a machine with a CUDA device "auto" is that device.
        runtime = "onnxruntime" if self.device == "cpu" and torch.cuda.is_available() else "auto"
        if model is not None:
            return load_tagger(model, checkpoint=checkpoint_path, runtime=runtime)
        chosen = Path(checkpoint_path or self._default())
        print(f"Checkpoint path: {chosen}")
        return load_tagger(checkpoint=chosen, architecture=self._name, runtime=runtime)

    def _default(self) -> Path:
        """The file that panns_inference has downloaded, or else the published one, fetched and verified unless that has been done."""
        theirs = Path.home() / "panns_data" / self._file
        return theirs if theirs.is_file() else fetch(self._name).path

    def _batch(self, audio: Any) -> torch.Tensor:
        """(batch, samples) as a network takes it, padded with silence to the shortest length."""
        batch = torch.from_numpy(np.array(audio, np.float32))
        if batch.ndim != 2 or not batch.numel() or not bool(batch.isfinite().all()):
            raise AudioError(
                f"audio has the shape (batch, samples), finite numbers at {self.tagger.entry.sample_rate / 1000:g} kHz; got the shape "
                f"{tuple(batch.shape)}. One recording is audio[None, :]."
            )
        missing = self.tagger.entry.least_samples - batch.shape[1]
        return torch.nn.functional.pad(batch, (0, missing)) if missing > 0 else batch


class AudioTagging(_Inference):
    """panns_inference's ``AudioTagging``, on the fastest engine here: tags and embeddings of waveforms at the network's rate, 32 kHz of CNN14.

    Parameters
    ----------
    model : Tagger or str, optional
        A tagger, or a name that ``pannscope models`` lists, in place of CNN14: "epanns".
    checkpoint_path : path, optional
        CNN14's weights, in panns_inference's layout or any other that ``load_tagger`` reads. By default the file that panns_inference has
        downloaded, or else the published one, which is fetched and verified.
    device : str
        "cuda", where there is such a device, or "cpu".

    Attributes
    ----------
    labels : list of str
        Names of the classes.
    classes_num : int
    device : str
        What it runs on.
    tagger : Tagger

    Examples
    --------
    >>> tagging = AudioTagging("demo-epanns", device="cpu")
    Using CPU.
    >>> clipwise_output, embedding = tagging.inference(np.zeros((2, 32_000), np.float32))
    >>> clipwise_output.shape, embedding.shape
    ((2, 527), (2, 512))
    """

    _name, _file = "cnn14", "Cnn14_mAP=0.431.pth"

    def inference(self, audio: Any) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Probabilities (batch, classes) and embeddings (batch, units) of waveforms (batch, samples), each as a whole whatever its length."""
        clipwise_output, embedding = self.tagger.engine.outputs(self._batch(audio))
        return clipwise_output.numpy(), embedding.numpy()


class SoundEventDetection(_Inference):
    """panns_inference's ``SoundEventDetection``: tags of every frame, by the network that decides segment by segment.

    Parameters
    ----------
    model, checkpoint_path, device
        As of ``AudioTagging``; the network is ``cnn14-decision-level-max``.
    interpolate_mode : str
        "nearest": a segment's tags are those of its 32 frames.
    """

    _name, _file = "cnn14-decision-level-max", "Cnn14_DecisionLevelMax.pth"

    def __init__(
        self,
        model: Tagger | str | None = None,
        checkpoint_path: str | Path | None = None,
        device: str = "cuda",
        interpolate_mode: str = "nearest",
    ) -> None:
        if interpolate_mode != "nearest":
            raise ModelError(f'interpolate_mode is "nearest" here; got {interpolate_mode!r}.')
        super().__init__(model, checkpoint_path, device)
        network = self.tagger.network
        if not isinstance(network, DecisionLevelMax):
            raise ModelError(
                f"{self.tagger.name} has no tags of frames; the networks cnn14-decision-level-… have."
            )
        self._network = network if self.device == "cpu" else deepcopy(network).to(self.device)

    def inference(self, audio: Any) -> npt.NDArray[np.float32]:
        """Probabilities (batch, frames, classes) of waveforms (batch, samples), a frame every 10 ms."""
        return self._network.framewise(self._batch(audio).to(self.device)).cpu().numpy()
