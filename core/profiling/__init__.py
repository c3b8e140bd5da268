"""The cost of a network: counted from its shapes, and measured on this machine.

A count means nothing without its convention. ``docs/conventions.md`` has them at length; in short, for one clip:

- ``params_total`` counts every tensor a published state dict learns or freezes: convolutions, batch norms' weight and bias, linear
  layers, and the front end's two Conv1d kernels and mel matrix. ``params_trainable`` leaves the front end out.
- ``macs`` is the paper's: what thop counts (a multiply-accumulate is one MAC), with the short-time Fourier transform as the
  reference's two Conv1d layers and batch norms included. Pannscope's own front end is an FFT and costs less.
- ``macs_network`` is convolution and linear layers alone; ``macs_flop_counter`` is half of what torch's flop counter reports,
  the same number computed in another way.
- ``size_bytes`` is the state dict in float32, running statistics and front end included, as the published files store it;
  ``size_bytes_float16`` the same with every matrix in half precision. ``file_bytes`` and ``file_bytes_float16`` are the tensors
  of Pannscope's own files, which leave the front end out.
- ``peak_activation_bytes`` is the most that a pass holds at once besides its weights, in float32.
"""

from core.profiling.counted import Counted, counted
from core.profiling.counts import Counts, LayerProfile, count
from core.profiling.latency import Latency, measure_latencies
from core.profiling.measured import Measured, measure
from core.profiling.memory import activation_bytes, activations, resident_growth
from core.profiling.profile import Profile, profile, profile_model
from core.profiling.published import (
    PAPER,
    counted_reductions,
    disagreements,
    paper_figures,
    paper_ratio,
)
from core.profiling.sweep import SWEEP_RATIOS, SweepPoint, sweep

__all__ = [
    "PAPER",
    "SWEEP_RATIOS",
    "Counted",
    "Counts",
    "Latency",
    "LayerProfile",
    "Measured",
    "Profile",
    "SweepPoint",
    "activation_bytes",
    "activations",
    "count",
    "counted",
    "counted_reductions",
    "disagreements",
    "measure",
    "measure_latencies",
    "paper_figures",
    "paper_ratio",
    "profile",
    "profile_model",
    "resident_growth",
    "sweep",
]
