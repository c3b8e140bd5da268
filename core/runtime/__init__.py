"""What runs a network: torch, the reference, and ncnn, the fast engine on a CPU, behind one interface.

``engine_for`` chooses; ``Tagger`` calls it when it first listens.
"""

from core.runtime.choice import check_runtime, engine_for
from core.runtime.engine import RUNTIMES, Engine, EngineError, TorchEngine
from core.runtime.machine import threads, usable_cpus, usable_memory
from core.runtime.ncnn_engine import NcnnEngine
from core.runtime.profiles import PROFILES, Profile, choose_profile

__all__ = [
    "PROFILES",
    "RUNTIMES",
    "Engine",
    "EngineError",
    "NcnnEngine",
    "Profile",
    "TorchEngine",
    "check_runtime",
    "choose_profile",
    "engine_for",
    "threads",
    "usable_cpus",
    "usable_memory",
]
