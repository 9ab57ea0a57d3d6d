"""Results of a method's stages (pseudo-labels, slice features) on disk, so that a killed fit does not repeat them."""

import hashlib
import json
import pickle
from pathlib import Path
from typing import Any

import torch

from lowshot.atomic import atomic_path
from lowshot.errors import UnreadableFile


def stage_path(folder: Path, name: str, key: Any) -> Path:
    """File of a stage's result: another key (any JSON value) is another file."""
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    return folder / "stages" / f"{name}-{digest[:12]}.pt"


def write_stage(path: Path, result: Any) -> None:
    """Write tensors and plain values, in dictionaries and lists; whole or not at all."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        torch.save(result, file)


def read_stage(path: Path) -> Any:
    """Read what ``write_stage`` wrote; tensors come back on the CPU."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UnreadableFile(
            f"{path}: expected the result of a stage, but it is damaged ({reason}). Delete it to compute it again"
        ) from error
