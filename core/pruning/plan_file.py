"""Plans in files: saved, and loaded again."""

from __future__ import annotations

import os
from pathlib import Path

from core.checkpoints import is_tensor_file, open_tensor_file
from core.errors import PruningError
from core.files import atomic_write, unwritable
from core.pruning.plan import MAX_BYTES, PruningPlan
from core.pruning.provenance import KEY

SUFFIX = ".json"


def save_plan(path: str | os.PathLike[str], plan: PruningPlan) -> Path:
    """Write a plan as JSON, atomically; raises ``PruningError`` if the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> plan = PruningPlan("cnn14", (8,) * 12, "l1", {"C12": 0.75}, {"C12": (2, 7)})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     load_plan(save_plan(f"{folder}/plan.json", plan)) == plan
    True
    """
    target = Path(path)
    try:
        with atomic_write(target) as draft:
            draft.write_text(plan.text(), encoding="utf-8")
    except OSError as error:
        raise PruningError(unwritable(target, error)) from error
    return target


def load_plan(path: str | os.PathLike[str]) -> PruningPlan:
    """Read a plan from its JSON file, or from a checkpoint that was made with one.

    Raises
    ------
    PruningError
        The file is missing, not a plan, damaged, or too large to be one.
    CheckpointError
        It is a damaged checkpoint.
    """
    source = Path(path)
    try:
        if not source.is_file():
            raise PruningError(
                f"There is no plan {source}; give a JSON file that `pannscope prune --save-plan` wrote, or a pruned checkpoint."
            )
        if is_tensor_file(source):
            described = open_tensor_file(source).metadata
            notes = described.training.get(KEY) if described else None
            if not isinstance(notes, dict) or "format" not in notes:
                raise PruningError(
                    "This checkpoint was not made with a plan, or by an earlier Pannscope; give another file."
                )
            return PruningPlan.from_document(notes)
        with source.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        return PruningPlan.from_text(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise PruningError(f"{source}: This is not a pruning plan: it is not UTF-8 text.") from error
    except OSError as error:
        raise PruningError(f"{source} cannot be read: {error.strerror or error}.") from error
    except PruningError as error:
        message = str(error)
        raise PruningError(message if str(source) in message else f"{source}: {message}") from error
