"""The public functions that take a ``Tagger`` where the package's own take its network: plan, prune, repair, heal, profile.

The other public names (``core.API``) need no such layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from core.audio import DecodedClip
from core.errors import DataError
from core.models.groups import prunable_layers
from core.profiling import Profile, profile_model
from core.pruning.plan import PruningPlan
from core.pruning.plan import plan as plan_network
from core.pruning.provenance import healed_info, pruned_info
from core.pruning.ratios import parse_layers
from core.pruning.repair.repair import repair as repair_network
from core.pruning.surgery import prune as prune_network
from core.tagging import Tagger
from core.training.healing import heal as heal_network
from core.training.recordings import Listed, Recordings


def plan(
    tagger: Tagger,
    ratio: float | Mapping[str, float],
    layers: str | None = None,
    *,
    criterion: str = "operator-norm",
    round_to: int = 1,
) -> PruningPlan:
    """Choose the filters to keep; nothing is removed yet.

    Parameters
    ----------
    tagger : Tagger
        The network to prune.
    ratio : float or mapping of str to float
        Fraction of the filters to remove from each of ``layers``, 0 to below 1, or one fraction per layer (``{"C7": 0.5, "C8": 0.25}``;
        ``layers`` is not used then).
    layers : str, optional
        ``"C7-C12"``, ``"C9"``, ``"C7,C9-C11"`` or ``"all"``; of architectures whose layers have no numbers, their module paths, parts of
        those or patterns: ``"resnet.layer4"``, ``"*.conv2"``. By default C7 to C12 of CNN14, and all layers of other architectures.
    criterion : str
        How filters are ranked; the default is the one of E-PANNs. docs/criteria.md compares them.
    round_to : int
        Round the number of kept filters to a multiple of this.

    Returns
    -------
    PruningPlan
        ``ratios``, ``kept`` (layer -> indices of the kept filters) and ``after`` (the layers' widths); ``text()`` is its JSON. Layers that
        share their channels are one entry, under the first one's name; ``groups`` lists them.

    Raises
    ------
    PruningError
        An impossible ratio or rounding, an unknown criterion or layer.

    Examples
    --------
    >>> import pannscope
    >>> tagger = pannscope.load_tagger("demo-cnn14")
    >>> pannscope.plan(tagger, 0.5).after
    (16, 16, 32, 32, 64, 64, 64, 64, 128, 128, 256, 256)
    >>> pannscope.plan(tagger, {"C11": 0.25, "C12": 0.75}).after[-2:]
    (384, 128)
    """
    chosen = None if layers is None else parse_layers(layers, prunable_layers(tagger.model.architecture))
    return plan_network(tagger.model, ratio, chosen, criterion, round_to=round_to)


def prune(tagger: Tagger, plan: PruningPlan) -> Tagger:
    """Remove the filters that a plan does not keep.

    Parameters
    ----------
    tagger : Tagger
        The network that the plan was made for; it stays as it is.
    plan : PruningPlan
        From ``plan``.

    Returns
    -------
    Tagger
        A narrower network of the same class, called ``NAME-pruned``. ``export`` saves it.

    Raises
    ------
    PruningError
        The plan is for another architecture or other widths.

    Examples
    --------
    >>> import pannscope
    >>> tagger = pannscope.load_tagger("demo-cnn14")
    >>> pruned = pannscope.prune(tagger, pannscope.plan(tagger, 0.5))
    >>> pruned.name, pruned.info.widths[-1]
    ('demo-cnn14-pruned', 256)
    """
    model = prune_network(tagger.model, plan)
    return Tagger(model, pruned_info(tagger.info, plan, model, f"{tagger.name}-pruned"))


def repair(tagger: Tagger, plan: PruningPlan, clips: Sequence[DecodedClip]) -> Tagger:
    """Prune, then correct the remaining weights on a few clips without labels (docs/repair.md).

    Each layer after the first removed filter is fitted by least squares to the unpruned network's response to the clips. Nothing is
    trained; a few clips take seconds.

    Parameters
    ----------
    tagger : Tagger
        The unpruned network; it stays as it is.
    plan : PruningPlan
        From ``plan``.
    clips : sequence of DecodedClip
        Calibration clips; any sounds like those that the network is for.

    Returns
    -------
    Tagger
        The pruned and repaired network, called ``NAME-pruned``; ``info.training["repair"]`` has each layer's error before and after.

    Raises
    ------
    PruningError
        There are no clips, all of them are silent, or the plan is for another network.

    Examples
    --------
    >>> import numpy as np
    >>> import pannscope
    >>> from core.audio import encode_wav
    >>> noise = pannscope.load_clip(encode_wav(0.1 * np.random.default_rng(0).standard_normal(16_000)))
    >>> tagger = pannscope.load_tagger("demo-cnn14")
    >>> repaired = pannscope.repair(tagger, pannscope.plan(tagger, 0.5, "C12"), [noise])
    >>> errors = repaired.info.training["repair"]["layers"]["fc1"]
    >>> errors["after"] < errors["before"]
    True
    """
    pruned = prune_network(tagger.model, plan, share=True)
    repaired = repair_network(tagger.model, plan, pruned, [clip.waveform for clip in clips])
    info = pruned_info(tagger.info, plan, repaired.model, f"{tagger.name}-pruned", repaired.document)
    return Tagger(repaired.model, info)


def heal(
    tagger: Tagger,
    pruned: Tagger,
    clips: Sequence[DecodedClip],
    *,
    minutes: float = 5.0,
    steps: int = 0,
    held_out: Sequence[DecodedClip] = (),
    seed: int = 0,
) -> Tagger:
    """Train a pruned network on clips without labels to give what the unpruned network gives (docs/distillation.md).

    Minutes, where ``repair`` takes seconds; it goes on from there, and is best given a network that ``repair`` returned.

    Parameters
    ----------
    tagger : Tagger
        The unpruned network; it stays as it is.
    pruned : Tagger
        The same network pruned, best by ``repair``; it stays as it is.
    clips : sequence of DecodedClip
        What to learn on: any sounds like those that the network is for.
    minutes : float
        How long to train, 0 for no limit.
    steps : int
        How many steps at most, 0 for as many as the minutes allow.
    held_out : sequence of DecodedClip
        Clips on which the agreement with the unpruned network is measured before and after; none for no measurement.
    seed : int
        Of every random choice; with ``steps`` and without ``minutes`` the same processor gives the same network.

    Returns
    -------
    Tagger
        The healed network, called ``NAME-healed``; ``info.training["healing"]`` has its steps and seconds and, of clips held out, the
        ``agreement`` before and after.

    Raises
    ------
    DataError
        There are no clips, all of them are silent, the networks have different outputs, there is neither a limit of minutes nor of steps, or
        the training diverged.

    Examples
    --------
    >>> import numpy as np
    >>> import pannscope
    >>> from core.audio import encode_wav
    >>> noise = pannscope.load_clip(encode_wav(0.1 * np.random.default_rng(0).standard_normal(16_000)))
    >>> tagger = pannscope.load_tagger("demo-cnn14")
    >>> repaired = pannscope.repair(tagger, pannscope.plan(tagger, 0.75), [noise])
    >>> healed = pannscope.heal(tagger, repaired, [noise], minutes=0, steps=1)
    >>> healed.name, healed.info.widths == repaired.info.widths, healed.info.training["healing"]["steps"]
    ('demo-cnn14-healed', True, 1)
    """
    audible = [clip for clip in clips if not clip.silent]
    if not audible:
        said = "all of them are silent" if clips else "there are none"
        raise DataError(f"Healing learns from clips, and {said}; give at least one with sound.")
    healed = heal_network(
        tagger.model,
        pruned.model,
        _recordings(audible),
        minutes=minutes,
        steps=steps,
        held_out=_recordings(held_out) if held_out else None,
        seed=seed,
    )
    info = healed_info(pruned.info, healed.document, f"{tagger.name}-healed")
    return Tagger(healed.model, info)


def profile(tagger: Tagger, seconds: float = 10.0) -> Profile:
    """Count a network's parameters, multiply-accumulate operations, file size and memory (docs/conventions.md).

    Parameters
    ----------
    tagger : Tagger
        The network.
    seconds : float
        Length of the clip that MACs and memory are counted for.

    Returns
    -------
    Profile
        ``params_trainable``, ``macs`` (the paper's convention), ``macs_network`` (convolutions and linear layers alone),
        ``size_bytes``, ``peak_activation_bytes``, and ``layers`` with the same for each layer.

    Raises
    ------
    ModelError
        The length is shorter than the network accepts.

    Examples
    --------
    >>> import pannscope
    >>> counted = pannscope.profile(pannscope.load_tagger("demo-epanns"))
    >>> f"{counted.params_trainable:,} parameters, {counted.macs / 1e9:.2f} G MACs"
    '1,655,519 parameters, 1.85 G MACs'
    """
    return profile_model(tagger.model, seconds)


def _recordings(clips: Sequence[DecodedClip]) -> Recordings:
    return Recordings.of((Listed(Path(clip.name), clip.sha256), clip.waveform) for clip in clips)
