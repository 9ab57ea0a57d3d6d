from dataclasses import dataclass
from typing import Literal

import pytest

from lowshot.errors import SettingsError
from lowshot.settings import about, build, numbers, parse_words, refuse_out_of_range


@dataclass(frozen=True, kw_only=True)
class Settings:
    steps: int = 10
    rate: float = 0.1
    mirror: bool = False
    patch: tuple[int, int, int] | None = None
    level: Literal["none", "strong"] = "none"
    names: tuple[str, ...] = ()

    def __post_init__(self):
        if self.steps < 1:
            raise SettingsError(f"steps: expected more than 0, got {self.steps}")


def test_words_become_values():
    words = ["modes=1", "patch=[48,48,48]", "mining=false", "level=none", "rate=1e-3", "spacing=null", "a=b=c"]
    assert parse_words(words) == {
        "modes": 1,
        "patch": [48, 48, 48],
        "mining": False,
        "level": "none",
        "rate": 1e-3,
        "spacing": None,
        "a": "b=c",
    }


def test_several_need_no_brackets_and_words_with_commas_stay_words():
    assert parse_words(["patch=48,48,48", "majority=liver,spleen"]) == {
        "patch": [48, 48, 48],
        "majority": "liver,spleen",
    }


def test_dashes_are_underscores_and_the_last_word_wins():
    assert parse_words(["batch-size=2", "batch_size=3"]) == {"batch_size": 3}


@pytest.mark.parametrize("word", ["modes", "=3", " =3", ""])
def test_words_without_key_or_value_are_refused(word):
    with pytest.raises(SettingsError, match="expected key=value, got"):
        parse_words([word])


def test_values_are_brought_to_their_types():
    built = build(Settings, {"steps": "20", "patch": [1, 2, 3], "names": ["liver"], "rate": 1})
    assert built == Settings(steps=20, patch=(1, 2, 3), names=("liver",), rate=1.0)
    assert isinstance(built.rate, float)


def test_defaults_stay():
    assert build(Settings, {}) == Settings()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"stesp": 3}, r"^here: no setting named stesp; did you mean steps\?$"),
        ({"zzz": 3}, "no setting named zzz; there are: steps, rate, mirror, patch, level, names"),
        ({"steps": "many"}, "here: steps: .*integer.*, got 'many'"),
        ({"steps": 2.5}, "steps: .*integer"),
        ({"level": "strnog"}, "level: .*'none' or 'strong'.*, got 'strnog'"),
        ({"patch": [1, 2]}, "patch"),
        ({"steps": 0}, "steps: expected more than 0, got 0"),
    ],
)
def test_what_cannot_be_is_refused_with_what_was_expected(values, message):
    with pytest.raises(SettingsError, match=message):
        build(Settings, values, where="here")


@dataclass(frozen=True)
class Ranged:
    widths: tuple[tuple[int, ...], ...] = ((4, 8), (16,))
    spacing: float | None = None
    weight: float = 0.0
    part: float = 1.0


RANGES = {"positive": ("widths", "spacing"), "not_negative": ("weight",), "shares": ("part",)}


def test_numbers_are_found_however_deep():
    assert numbers(((4, 8), (16,))) == [4, 8, 16]
    assert numbers(2.5) == [2.5]
    assert numbers(None) == numbers(()) == []


def test_what_is_in_range_is_accepted():
    refuse_out_of_range(Ranged(), **RANGES)
    refuse_out_of_range(Ranged(part=0.0, spacing=2.0), **RANGES)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"widths": ((4, 8), (0,))}, r"widths: expected more than 0, got \(\(4, 8\), \(0,\)\)"),
        ({"spacing": float("inf")}, "spacing: expected more than 0, got inf"),
        ({"spacing": float("nan")}, "spacing: expected more than 0, got nan"),
        ({"weight": -0.1}, "weight: expected a number from 0 on, got -0.1"),
        ({"weight": float("nan")}, "weight: expected a number from 0 on, got nan"),
        ({"part": 1.01}, "part: expected a share from 0 to 1, got 1.01"),
    ],
)
def test_what_is_not_is_named(wrong, message):
    with pytest.raises(SettingsError, match=message):
        refuse_out_of_range(Ranged(**wrong), **RANGES)


@dataclass
class Inherited:
    """Fields that another class goes on with."""

    kept: int = 1  # paper: of the first
    changed: int = 2  # of the first


@dataclass
class Described(Inherited):
    changed: int = 3
    """Of the second,
    over two lines."""
    silent: int = 4
    several: tuple[int, ...] = (
        5,  # not of the field
        6,
    )  # of the field
    plain = 7  # no field


def test_what_the_source_says_of_a_field():
    assert about(Described) == {
        "kept": "paper: of the first",
        "changed": "Of the second, over two lines.",
        "several": "of the field",
    }
