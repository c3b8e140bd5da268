"""The kernels, compiled for the processor this runs on."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import llvmlite
from llvmlite import binding as llvm

from core.runtime.engine import EngineError
from core.runtime.memory import drop_library_pages
from core.runtime.winograd.algorithms import DIRECT, F23, F43, PAIR, Algorithm
from core.runtime.winograd.cache import cached_code
from core.runtime.winograd.signatures import SIGNATURES, Shape, Signature, exported

AVX512, AVX2 = Shape(lanes=16, rows=14, vectors=2), Shape(lanes=8, rows=6, vectors=2)
"""For 32 registers of 16 float32, and for 16 of 8: as many sums as fit beside the filters and one value."""

PAIRS: tuple[tuple[Algorithm, Algorithm, bool], ...] = (
    (F43, F43, False),
    (F43, F43, True),
    (DIRECT, F23, False),
    (DIRECT, F23, True),
    (DIRECT, PAIR, False),
)
"""The combinations that the profiles use: time, bands, and whether the layer is pooled."""


class Kernel:
    """A compiled kernel, called with an array for every pointer and integers for the rest, without Python's global lock."""

    def __init__(self, signature: Signature, address: int) -> None:
        self._pointers, self._numbers = signature.pointers.split(), signature.numbers.split()
        kinds = [ctypes.c_void_p] * len(self._pointers) + [ctypes.c_int64] * len(self._numbers)
        self._code = ctypes.CFUNCTYPE(None, *kinds)(address)

    def __call__(self, values: Mapping[str, Any]) -> None:
        """``values`` may hold more than this kernel takes."""
        self._code(
            *(values[key].ctypes.data for key in self._pointers), *(values[key] for key in self._numbers)
        )


class Native:
    """The compiled kernels.

    Attributes
    ----------
    shape : the registers that they use.
    """

    def __init__(self, shape: Shape, processor: str, features: str) -> None:
        self.shape = shape
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        machine = llvm.Target.from_default_triple().create_target_machine(
            cpu=processor, features=features, opt=2
        )
        key = f"{shape} {processor} {features} {machine.triple} {llvmlite.__version__}".encode() + _sources()
        code = cached_code(key, lambda: _compiled(machine, shape))
        # The code lives as long as its engine, which needs a module of its own.
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        self._engine.finalize_object()
        self._kernels: dict[str, Kernel] = {}

    def kernel(self, of: str, time: Algorithm, bands: Algorithm, pooled: bool = False) -> Kernel:
        """``prepare``, ``spread``, ``strips`` or ``panels`` of a pair of algorithms."""
        return self._kernel(of, exported(time, bands, of, pooled))

    @property
    def first(self) -> Kernel:
        """C1's."""
        return self._kernel("first", "first")

    def _kernel(self, of: str, name: str) -> Kernel:
        if name not in self._kernels:
            self._kernels[name] = Kernel(SIGNATURES[of], self._engine.get_function_address(name))
        return self._kernels[name]


@lru_cache(maxsize=1)
def native() -> Native:
    """The kernels for this processor, compiled once per process.

    Raises ``EngineError`` where there is neither AVX-512 nor AVX2, or where the system does not let programs generate code.
    """
    features = llvm.get_host_cpu_features()
    if features.get("avx512f"):
        shape = AVX512
    elif features.get("avx2") and features.get("fma"):
        shape = AVX2
    else:
        raise EngineError(f"This processor ({platform.machine()}) has neither AVX-512 nor AVX2 with FMA.")
    try:
        return Native(shape, llvm.get_host_cpu_name(), features.flatten())
    except (RuntimeError, OSError) as error:
        raise EngineError(f"The kernels cannot be compiled here ({error}).") from error
    finally:
        drop_library_pages()  # LLVM: 50 MB that are not needed again


def _compiled(machine: llvm.TargetMachine, shape: Shape) -> bytes:
    """The object file of all kernels, in about a second."""
    from core.runtime.winograd.kernels import kernels_text  # needed only to compile

    module = llvm.parse_assembly(kernels_text(shape, PAIRS))
    # The loops are unrolled and vectorised already.
    tuning = llvm.create_pipeline_tuning_options(speed_level=1)
    tuning.loop_unrolling = tuning.loop_vectorization = tuning.slp_vectorization = False
    passes = llvm.create_pass_builder(machine, tuning)
    passes.getModulePassManager().run(module, passes)
    return bytes(machine.emit_object(module))


def _sources() -> bytes:
    """The text of the modules that generate the code."""
    folder = Path(__file__).parent
    names = ("algorithms", "emit", "kernels", "native", "product", "signatures", "transforms")
    return b"".join((folder / f"{name}.py").read_bytes() for name in names)
