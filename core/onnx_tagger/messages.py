"""What the two sides of an ONNX file's sandbox exchange.

To the worker: MODEL (a job, then PIECES of the file), then RUN (samples) and COUNT (a number of samples), each with the processor time
that it may take. From the worker: READY, FACTS about the graph, RESULT, COUNTED, or REFUSED with the rest of a line, or MEMORY.
"""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, dataclass
from typing import Any

MODEL, PIECE, RUN, COUNT = b"M", b"P", b"U", b"C"
READY, FACTS, RESULT, COUNTED, REFUSED, MEMORY = b"Y", b"F", b"O", b"N", b"E", b"X"

GRANT = struct.Struct("<dQ")
"""The head of RUN and COUNT: seconds of processor time, and a number of samples."""

TAGS_BYTES = 8
"""The head of RESULT: how many of its values are the tags, little-endian; the others are the embedding."""

MAX_TEXT_BYTES = 4 << 20
"""Of FACTS: metadata with the names of 20,000 classes is under 1 MB."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A file of ``size`` bytes, and what loading it may take."""

    size: int
    memory: int
    cpu_s: float
    threads: int


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a graph says of itself.

    Attributes
    ----------
    samples : the only length that its input takes; None where any will do.
    output, outputs : the name of the output that is read, and how many there are.
    classes : values of that output a clip or frame; None where the graph does not say.
    parameters : values of its weights.
    metadata : as in the file.
    """

    samples: int | None
    output: str
    outputs: int
    parameters: int
    metadata: dict[str, str]


def packed(record: Job | Facts) -> bytes:
    """A record as JSON."""
    return json.dumps(asdict(record)).encode()


def job_of(body: bytes) -> Job:
    """The record that ``packed`` wrote."""
    return Job(**json.loads(body))


def facts_of(body: bytes) -> Facts:
    """The record that ``packed`` wrote, its values converted to the types that they must have; raises ``ValueError``."""
    if len(body) > MAX_TEXT_BYTES:
        raise ValueError(f"metadata of {len(body):,} bytes")
    fields: dict[str, Any] = json.loads(body)
    return Facts(
        samples=None if fields["samples"] is None else int(fields["samples"]),
        output=str(fields["output"]),
        outputs=int(fields["outputs"]),
        parameters=int(fields["parameters"]),
        metadata={str(key): str(value) for key, value in dict(fields["metadata"]).items()},
    )
