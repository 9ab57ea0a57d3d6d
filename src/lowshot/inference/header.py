"""What every model remembers besides its tensors."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from lowshot.errors import ModelFileError
from lowshot.imaging.names import Names
from lowshot.imaging.preparation import Preparation
from lowshot.settings import build

H = TypeVar("H", bound="Header")


@dataclass(frozen=True)
class Header:
    """Structures, channels, and how a scan is prepared. What else a kind of model needs, a class of its own adds."""

    names: Names
    channels: tuple[str, ...]
    preparation: Preparation

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, from which ``from_json`` makes an equal header."""
        return {
            "names": list(self.names.names),
            "values": list(self.names.values),
            "channels": list(self.channels),
            "preparation": self.preparation.to_json(),
        }

    @classmethod
    def from_json(cls: type[H], header: Mapping[str, Any]) -> H:
        """What ``to_json`` described, every type checked: a model file may come from anywhere.

        Raises:
            LowshotError, KeyError: this is no such description.
        """
        made = build(cls, cls.parts(header), "model")
        if not made.channels:
            raise ModelFileError("channels: expected at least one")
        return made

    @classmethod
    def parts(cls, header: Mapping[str, Any]) -> dict[str, Any]:
        """The fields, each rebuilt."""
        return {
            "names": build(Names, {key: header[key] for key in ("names", "values")}, "structures"),
            "channels": header["channels"],
            "preparation": build(Preparation, header["preparation"], "preparation"),
        }
