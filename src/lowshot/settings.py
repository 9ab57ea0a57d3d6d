"""Settings and options: dataclasses filled from presets and ``key=value`` words, checked by pydantic."""

import ast
import inspect
import io
import json
import math
import textwrap
import tokenize
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from difflib import get_close_matches
from itertools import pairwise
from typing import Any, TypeVar

from lowshot.errors import SettingsError

T = TypeVar("T")


def parse_words(words: Sequence[str]) -> dict[str, Any]:
    """``["modes=1", "patch=[48,48,48]", "mining=false"]`` to a dictionary; values are JSON, or else plain text.

    Brackets may be left out around several: ``patch=48,48,48``.
    """
    values: dict[str, Any] = {}
    for word in words:
        key, separator, text = word.partition("=")
        if not separator or not key.strip():
            raise SettingsError(f"expected key=value, got {word!r}")
        values[key.strip().replace("-", "_")] = _value(text.strip())
    return values


def _value(text: str) -> Any:
    # "none" reads better on a command line than JSON's null, but some settings have it as a word of theirs.
    for attempt in (text, f"[{text}]") if "," in text else (text,):
        try:
            return json.loads(attempt)
        except json.JSONDecodeError:
            continue
    return text


def build(cls: type[T], values: Mapping[str, Any], where: str = "settings") -> T:
    """An instance of a settings dataclass; unknown keys and wrong values are errors that say what was expected."""
    from pydantic import TypeAdapter, ValidationError

    if not isinstance(values, Mapping):
        raise SettingsError(f"{where}: expected names with values, got {type(values).__name__}")
    known = [field.name for field in fields(cls)]  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            close = get_close_matches(key, known, n=1)
            hint = f"; did you mean {close[0]}?" if close else f"; there are: {', '.join(known)}"
            raise SettingsError(f"{where}: no setting named {key}{hint}")
    try:
        return TypeAdapter(cls).validate_python(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        raise SettingsError(f"{where}: {name}: {first['msg']}, got {first['input']!r}") from error


def about(cls: type) -> dict[str, str]:
    """What the source says of each field of a settings dataclass: the string below it, or the comment behind it."""
    found: dict[str, str] = {}
    for each in reversed(cls.__mro__):
        if each.__module__.partition(".")[0] == cls.__module__.partition(".")[0]:
            found |= _about_own(each)
    return found


def _about_own(cls: type) -> dict[str, str]:
    source = textwrap.dedent(inspect.getsource(cls))
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {token.start[0]: token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT}
    (definition,) = ast.parse(source).body
    assert isinstance(definition, ast.ClassDef)  # noqa: S101 (what a class's source begins with)
    found = {}
    for field, below in pairwise([*definition.body, ast.Pass()]):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            told = below.value if isinstance(below, ast.Expr) else None
            text = told.value if isinstance(told, ast.Constant) else comments.get(field.end_lineno or 0)
            if isinstance(text, str):
                found[field.target.id] = " ".join(text.split())
    return found


def numbers(value: Any) -> list[int | float]:
    """The numbers in a setting: one, none, or nested in tuples."""
    if value is None:
        return []
    return [number for part in value for number in numbers(part)] if isinstance(value, tuple) else [value]


def refuse_out_of_range(
    settings: object, *, positive: Sequence[str] = (), not_negative: Sequence[str] = (), shares: Sequence[str] = ()
) -> None:
    """Look at the fields of these names, and at every number of those that have several.

    Raises:
        SettingsError: one is not more than 0, less than 0, no share from 0 to 1; infinite or NaN.
    """
    wanted: tuple[tuple[Sequence[str], str, Callable[[float], bool]], ...] = (
        (positive, "more than 0", lambda number: 0 < number < math.inf),
        (not_negative, "a number from 0 on", lambda number: 0 <= number < math.inf),
        (shares, "a share from 0 to 1", lambda number: 0 <= number <= 1),
    )
    for names, what, holds in wanted:
        for name in names:
            value = getattr(settings, name)
            if not all(holds(number) for number in numbers(value)):
                raise SettingsError(f"{name}: expected {what}, got {value}")
