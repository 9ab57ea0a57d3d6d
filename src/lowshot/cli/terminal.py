"""Results to standard output, everything else to standard error; for people, or with ``--json`` for programs."""

import json
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lowshot.progress import Progress, Silent, progress_for

if TYPE_CHECKING:
    from lowshot.reporting.tables import Table


class Terminal:
    """Where a command speaks. Under ``torchrun`` only the first process does."""

    def __init__(self, as_json: bool = False) -> None:
        self.as_json = as_json
        self.is_first = os.environ.get("RANK", "0") == "0"
        self.progress: Progress = progress_for(sys.stderr, as_json) if self.is_first else Silent()

    def result(self, data: Mapping[str, Any], *shown: "Table | str") -> None:
        """Print ``data`` as JSON for programs, or the tables and sentences ``shown`` for people."""
        if not self.is_first:
            return
        if self.as_json:
            print(json.dumps(data, indent=2))  # noqa: T201
            return
        for each in shown:
            if isinstance(each, str):
                print(each)  # noqa: T201
            else:
                self._table(each)

    def _table(self, table: "Table") -> None:
        from rich.console import Console

        from lowshot.reporting.tables import to_terminal

        Console(file=sys.stdout, width=None if sys.stdout.isatty() else 160).print(to_terminal(table))
