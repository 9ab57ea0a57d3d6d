"""In what two requests differ, in words that tell a user what to change."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeGuard

_DIGEST = re.compile(r"[0-9a-f]{64}")
_PART_OF_A_DIGEST = re.compile(r" \([0-9a-f]{8}\)")
_MOST_NAMES = 4
_MOST_LETTERS = 80


def differences(begun: Mapping[str, Any], asked: Mapping[str, Any], prefix: str = "") -> list[str]:
    """One clause for each, of JSON values.

    Nobody reads a SHA-256: of a table of them, as requests hold for files, the names are told, and which of the files
    have changed.
    """
    found = []
    for key in dict.fromkeys([*begun, *asked]):
        then, now = begun.get(key), asked.get(key)
        if _tells_files(then) and _tells_files(now):  # in their order, which equality does not see
            found += _of_files(then, now)
        elif then == now:
            continue
        elif isinstance(then, dict) and isinstance(now, dict):
            found += differences(then, now, f"{prefix}{key}: ")
        else:
            found.append(f"{prefix}{key} {_of_values(_shown(then), _shown(now))}")
    return found


def _tells_files(value: object) -> TypeGuard[dict[str, str]]:
    return isinstance(value, dict) and all(isinstance(each, str) and _DIGEST.fullmatch(each) for each in value.values())


def _of_files(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    gone, new = [path for path in then if path not in now], [path for path in now if path not in then]
    changed = [path for path in then if path in now and then[path] != now[path]]
    names = _short_names([*gone, *new, *changed])
    missing, more, other = (_listed([names[path] for path in paths]) for paths in (gone, new, changed))
    found = []
    if gone and new:
        found.append(f"it uses {missing}, you gave {more}")
    elif gone:
        found.append(f"it also uses {missing}, which you did not give")
    elif new:
        found.append(f"it does not use {more}, which you gave")
    if changed:
        found.append(f"{other} {'has' if len(changed) == 1 else 'have'} changed")
    if not found and list(then) != list(now):
        found.append("it uses the same files in another order, or as other channels")
    return found


def _short_names(paths: Iterable[str]) -> dict[str, str]:
    """Of each path as much of its end as tells all of them apart: ``labels/s1.nii.gz`` is not ``images/s1.nii.gz``."""
    parts = {path: Path(path).parts for path in paths}
    for count in range(1, max(map(len, parts.values()), default=0)):
        names = {path: "/".join(each[-count:]) for path, each in parts.items()}
        if len(set(names.values())) == len(names):
            return names
    return {path: path for path in parts}


def _of_values(then: str, now: str) -> str:
    return "has changed" if then == now else f"was {then}, is now {now}"


def _shown(value: object) -> str:
    """A value without digests: two that differ only in those look alike."""
    if value is None:
        return "not given"
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return _listed(map(_shown, value)) or "nothing"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = _PART_OF_A_DIGEST.sub("", _DIGEST.sub("", text))
    return text if len(text) <= _MOST_LETTERS else f"{text[:_MOST_LETTERS]} …"


def _listed(texts: Iterable[str]) -> str:
    """``a, b and c``; what is too long for a sentence is counted."""
    texts = [text if number == 1 else f"{number} × {text}" for text, number in Counter(texts).items()]
    if len(texts) > _MOST_NAMES:
        texts = [*texts[: _MOST_NAMES - 1], f"{len(texts) - _MOST_NAMES + 1} more"]
    return " and ".join(filter(None, [", ".join(texts[:-1]), *texts[-1:]]))
