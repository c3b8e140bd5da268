"""The kernels, compiled for the processor this runs on."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Callable
from functools import lru_cache

from llvmlite import binding as llvm

from core.runtime.engine import EngineError
from core.runtime.memory import library_aside
from core.runtime.winograd.algorithms import DIRECT, F23, F43, PAIR, Algorithm
from core.runtime.winograd.emit import POINTER
from core.runtime.winograd.kernels import written
from core.runtime.winograd.product import Shape
from core.runtime.winograd.transforms import name

AVX512, AVX2 = Shape(lanes=16, rows=14, vectors=2), Shape(lanes=8, rows=6, vectors=2)
"""For 32 registers of 16 float32 and for 16 of 8: as many sums as fit beside the filters and a value."""

PAIRS: tuple[tuple[Algorithm, Algorithm, bool], ...] = (
    (F43, F43, False),
    (F43, F43, True),
    (DIRECT, F23, False),
    (DIRECT, F23, True),
    (DIRECT, PAIR, False),
)
"""What the profiles use: time, bands, and whether the layer is pooled."""

Kernel = Callable[..., None]


class Native:
    """Compiled kernels. Calling one lets other threads of Python run.

    Attributes
    ----------
    shape : the registers they were written for.
    """

    def __init__(self, shape: Shape, processor: str, features: str) -> None:
        self.shape = shape
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        machine = llvm.Target.from_default_triple().create_target_machine(
            cpu=processor, features=features, opt=2
        )
        kernels = written(shape, list(PAIRS)).module
        module = llvm.parse_assembly(str(kernels))
        tuning = llvm.create_pipeline_tuning_options(speed_level=2)
        tuning.loop_unrolling = False  # loops are written as they are meant
        passes = llvm.create_pass_builder(machine, tuning)
        passes.getModulePassManager().run(module, passes)
        self._code = llvm.create_mcjit_compiler(module, machine)  # the code lives as long as this
        self._code.finalize_object()
        self._kernels: dict[str, Kernel] = {}
        for function in kernels.functions:
            if function.linkage != "internal" and not function.is_declaration:
                kinds = [
                    ctypes.c_void_p if argument.type == POINTER else ctypes.c_int64
                    for argument in function.args
                ]
                address = self._code.get_function_address(function.name)
                self._kernels[function.name] = ctypes.CFUNCTYPE(None, *kinds)(address)

    def kernel(self, of: str, time: Algorithm, bands: Algorithm, pooled: bool = False) -> Kernel:
        """``prepare``, ``spread``, ``strips`` or ``panels`` of a pair of algorithms."""
        return self._kernels[name(time, bands, of, pooled)]

    @property
    def first(self) -> Kernel:
        """C1's."""
        return self._kernels["first"]


@lru_cache(maxsize=1)
def native() -> Native:
    """The kernels for this processor, compiled once a process (in about a second).

    Raises ``EngineError`` where there is neither AVX-512 nor AVX2, or where the system lets no program write code.
    """
    features = llvm.get_host_cpu_features()
    if features.get("avx512f"):
        shape = AVX512
    elif features.get("avx2") and features.get("fma"):
        shape = AVX2
    else:
        raise EngineError(f"This processor ({platform.machine()}) has neither AVX-512 nor AVX2 with FMA.")
    try:
        found = Native(shape, llvm.get_host_cpu_name(), features.flatten())
    except (RuntimeError, OSError) as error:
        raise EngineError(f"The kernels cannot be compiled here ({error}).") from error
    library_aside("llvmlite")
    return found
