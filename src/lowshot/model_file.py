"""A trained model as one ``.safetensors`` file: tensors, and a JSON header that says how to rebuild it."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from lowshot import catalogue
from lowshot.atomic import atomic_path, remove_leftovers
from lowshot.contract import Adapted, Learner, Method, Model, State
from lowshot.errors import LowshotError, MissingExtra, ModelFileError, printable
from lowshot.imaging.files import LABEL_SUFFIXES
from lowshot.imaging.names import is_legible
from lowshot.training.folder import finish

FORMAT = "lowshot model 1"
"""Changes when files written before can no longer be read."""
MOST_HEADER_BYTES = 16_000_000
MOST_HEADER_VALUES = 1_000_000
"""A header is read into memory, where each of its values takes many times its bytes. Real ones have a few thousand."""
_MOST_LEVELS = 20
"""Of tables inside of tables in what is said about a model; real ones have four."""
_ENDS = re.compile(rb'"data_offsets"\s*:\s*\[\s*\d{1,18}\s*,\s*(\d{1,18})\s*\]')
"""In the header of a safetensors file: where a tensor ends, counted in bytes from the end of the header."""
_DAMAGE = (
    *(ArithmeticError, AttributeError, LookupError, LowshotError, MemoryError, OSError, RuntimeError, TypeError),
    ValueError,
)
"""What rebuilding raises for a file that is not what it says."""


@dataclass(frozen=True, eq=False)
class Fitted:
    """A trained model, and all that its file says about it."""

    model: Model | Learner
    method: Method
    name: str
    """Of the method, in the catalogue."""
    settings: Mapping[str, Any]
    """What the method was made with, so that ``load`` can make it again."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Preset, seed, plan, support, SHA-256 of the training files, versions, machine, date; not needed to load. What is
    there of ``plan``, ``stages`` in it and their ``steps``, and of ``base_structures`` has the types that ``fit`` gives
    it. Of an adapted model ``base`` says the same about its learner."""
    folder: Path | None = None
    """Of its training. What only an unsaved training needs is removed there by ``save``."""

    def save(self, path: Path | str) -> None:
        """Write the model as one ``.safetensors`` file, whole or not at all.

        Raises:
            ModelFileError: the name does not end in ``.safetensors``.
            OutputError: it cannot be written.
        """
        from safetensors.torch import save

        path, state = Path(path), self.model.state()
        require_model_name(path)
        header = {
            "format": FORMAT,
            "method": self.name,
            "kind": "model" if isinstance(self.model, Model) else "learner",
            "settings": dict(self.settings),
            "state": state.header,
            "provenance": dict(self.provenance),
        }
        # safetensors refuses channels_last memory and tensors that share storage; a contiguous clone has neither.
        tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.tensors.items()}
        content = save(tensors, metadata={"lowshot": json.dumps(header)})
        remove_leftovers(path)
        with atomic_path(path) as temporary:
            temporary.write_bytes(content)  # not by safetensors, whose errors hide that a disk is full
        if self.folder is not None:
            finish(self.folder)

    def segmenter(self) -> Model:
        """The model, if it can segment.

        Raises:
            ModelFileError: it is a learner, which needs an example first.
        """
        if not isinstance(self.model, Model):
            raise ModelFileError(
                f"this {self.name} has learned how to learn, but no structure yet; give it an example: "
                "lowshot adapt LEARNER IMAGE LABELS -o OUT.safetensors"
            )
        return self.model

    def learner(self) -> Learner:
        """What can be given an example: the learner, or the one that an adapted model keeps.

        Raises:
            ModelFileError: the method learns every structure anew.
        """
        if isinstance(self.model, Learner):
            return self.model
        if isinstance(self.model, Adapted):
            return self.model.learner
        raise ModelFileError(
            f"{self.name} does not learn from an example in seconds, it learns every structure anew: "
            f"lowshot fit IMAGE LABELS --method {self.name} -o MODEL.safetensors"
        )


def require_model_name(path: Path) -> None:
    """Refuse an output that is not named like a model file."""
    if path.suffix.lower() != ".safetensors":
        raise ModelFileError(f"{path}: expected a name ending in .safetensors")


def load(path: Path | str) -> Fitted:
    """Read a model that ``Fitted.save`` or ``lowshot fit`` wrote, on the CPU.

    Raises:
        ModelFileError: no such file, not a model of lowshot's, damaged.
    """
    path = Path(path)
    if path.is_dir() or path.name.lower().endswith(LABEL_SUFFIXES):
        what = "a folder" if path.is_dir() else "an image"
        raise ModelFileError(
            f"{path}: expected a lowshot model (.safetensors), got {what}; the model comes first, then scans"
        )
    if not path.is_file():
        raise ModelFileError(f"{path}: no such model file")
    metadata, tensors = _content(path)
    header = _header(path, metadata)
    name, settings, state, provenance = (header[key] for key in ("method", "settings", "state", "provenance"))
    try:
        method = catalogue.create(name, settings)
        model = method.restore(State(state, tensors))
    except MissingExtra:
        raise
    except _DAMAGE as error:
        raise ModelFileError(f"{path}: the stored model cannot be rebuilt: {_reason(error)}") from error
    for channel in model.channels if isinstance(model, Model) else ():
        if not is_legible(channel):
            raise ModelFileError(f"{path}: the channel name {_short(repr(channel))} holds control characters")
    return Fitted(model, method, name, settings, provenance)


def _content(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    from safetensors import SafetensorError, safe_open

    try:
        _refuse_what_is_not_whole(path)
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except ModelFileError:
        raise
    except PermissionError as error:
        raise ModelFileError(f"{path}: cannot be read: {error.strerror}; permit reading it") from error
    except (SafetensorError, *_DAMAGE) as error:
        what = "the file is damaged, copy it again" if isinstance(error, SafetensorError) else "could not read it"
        told = f"expected a lowshot model (.safetensors), {what}: {_reason(error)}"
        raise ModelFileError(f"{path}: {told}") from error


def _refuse_what_is_not_whole(path: Path) -> None:
    """Say in our words what safetensors would say in its own: a file that is cut off, or of another kind."""
    expected, length = f"{path}: expected a lowshot model (.safetensors)", path.stat().st_size
    if not length:
        raise ModelFileError(f"{expected}, the file is empty; copy it again")
    with path.open("rb") as file:
        size, begins = int.from_bytes(file.read(8), "little"), file.read(1)
        if size > MOST_HEADER_BYTES or begins not in (b"{", b""):
            raise ModelFileError(f"{expected}, got a file of another kind")
        header = begins + file.read(size - 1) if size else b""
    ends = max((int(found[1]) for found in _ENDS.finditer(header)), default=0)
    if length < 8 + size + ends:
        raise ModelFileError(f"{expected}, the file is cut off after {length:,} bytes; copy it again")


def _header(path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    text = metadata.get("lowshot", "")
    try:
        if sum(map(text.count, "[{,")) > MOST_HEADER_VALUES:
            raise ValueError("more values than any model has")
        header: dict[str, Any] = json.loads(text)
        found = header["format"]
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ModelFileError(f"{path}: a safetensors file, but not one that lowshot wrote") from error
    if found != FORMAT:
        shown = _short(repr(found)) if isinstance(found, str) else type(found).__name__
        raise ModelFileError(f"{path}: written as {shown}, this version reads {FORMAT!r}")
    for key, kind in (("method", str), ("settings", dict), ("state", dict), ("provenance", dict)):
        if not isinstance(header.get(key), kind):
            raise ModelFileError(f"{path}: the header is damaged: no {key}")
    _check_provenance(path, header["provenance"])
    return header


def _check_provenance(path: Path, provenance: Mapping[str, Any]) -> None:
    """Parts of it go into the JSON file beside every segmentation, long after the model was read."""
    damaged = f"{path}: the header is damaged: its provenance"
    if not _is_plain(provenance, _MOST_LEVELS):
        raise ModelFileError(f"{damaged} is no plain JSON")
    plan = provenance.get("plan", {})
    stages = plan.get("stages", {}) if isinstance(plan, dict) else None
    if not isinstance(stages, dict) or not all(map(_is_stage, stages.values())):
        raise ModelFileError(f"{damaged} holds no plan with a number of steps for each stage")
    structures = provenance.get("base_structures", [])
    if not isinstance(structures, list) or not all(isinstance(each, str) for each in structures):
        raise ModelFileError(f"{damaged} holds no list of the structures of its base")


def _is_plain(value: object, levels: int) -> bool:
    """Whether any JSON file can hold what came from one: Python reads NaN and infinity too, and writes fewer levels."""
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return levels > 0 and all(_is_plain(each, levels - 1) for each in inner)
    return not isinstance(value, float) or math.isfinite(value)


def _is_stage(value: object) -> bool:
    steps = value.get("steps") if isinstance(value, dict) else None
    return isinstance(steps, int) and not isinstance(steps, bool) and 0 <= steps < 2**63


def _reason(error: BaseException) -> str:
    """What an error says, on one line: it may quote at length what a stranger wrote into the file."""
    return _short(" ".join(str(error).split()) or type(error).__name__)


def _short(text: str, most: int = 300) -> str:
    return printable(text if len(text) <= most else f"{text[:most]} …")
