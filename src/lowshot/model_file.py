"""A trained model as one ``.safetensors`` file: tensors, and a JSON header that says how to rebuild it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lowshot import catalogue
from lowshot.atomic import atomic_path
from lowshot.contract import Learner, Method, Model, State
from lowshot.errors import LowshotError, MissingExtra, ModelFileError

FORMAT = "lowshot model 1"
"""Changes when files written before can no longer be read."""


@dataclass(frozen=True, eq=False)
class SavedModel:
    """What a model file holds."""

    model: Model | Learner
    method: Method
    name: str
    """Of the method, in the catalogue."""
    header: Mapping[str, Any]
    """method, settings, state, versions, and whatever ``provenance`` was given."""


def save(
    path: Path,
    model: Model | Learner,
    *,
    method: str,
    settings: Mapping[str, Any],
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Write a model whole or not at all.

    Args:
        path: ends in ``.safetensors``.
        model: what ``fit`` or ``adapt`` returned.
        method: its name in the catalogue.
        settings: what the method was made with, so that ``load`` can make it again.
        provenance: seed, plan, hashes of the training files: kept in the header, not needed to load.
    """
    from safetensors.torch import save_file

    state = model.state()
    header = {
        **(provenance or {}),
        "format": FORMAT,
        "method": method,
        "kind": "model" if isinstance(model, Model) else "learner",
        "settings": dict(settings),
        "state": state.header,
        "versions": {package: version(package) for package in ("lowshot", "torch")},
    }
    # safetensors refuses channels_last memory and tensors that share storage; a contiguous clone has neither.
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.tensors.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata={"lowshot": json.dumps(header)})


def load(path: Path) -> SavedModel:
    """Read what ``save`` wrote, on the CPU."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise ModelFileError(f"{path}: no such model file")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dictionary)
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelFileError(f"{path}: expected a lowshot model (.safetensors), could not read it: {error}") from error
    header = _header(path, metadata)
    name, settings, state = header["method"], header["settings"], header["state"]
    if not (isinstance(name, str) and isinstance(settings, dict) and isinstance(state, dict)):
        raise ModelFileError(f"{path}: the header is damaged")
    try:
        method = catalogue.create(name, settings)
        model = method.restore(State(state, tensors))
    except MissingExtra:
        raise
    except (LowshotError, AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ModelFileError(f"{path}: the stored {name} model cannot be rebuilt: {error}") from error
    return SavedModel(model, method, name, header)


def _header(path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    try:
        header: dict[str, Any] = json.loads(metadata["lowshot"])
        found = header["format"]
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ModelFileError(f"{path}: a safetensors file, but not one that lowshot wrote") from error
    if found != FORMAT:
        raise ModelFileError(f"{path}: written as {found!r}, this version reads {FORMAT!r}")
    missing = {"method", "settings", "state"} - header.keys()
    if missing:
        raise ModelFileError(f"{path}: the header lacks {', '.join(sorted(missing))}")
    return header
