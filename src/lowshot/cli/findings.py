"""What ``lowshot.imaging.check`` finds, told before a scan is used."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from lowshot.errors import InputError
from lowshot.progress import Progress

if TYPE_CHECKING:
    from lowshot.imaging.scan import LabelledScan


def refuse_errors(support: "Iterable[LabelledScan]", progress: Progress) -> None:
    """Tell all findings about annotated scans, then refuse to train if one of them is an error."""
    from lowshot.imaging.check import check

    errors = []
    for finding in (finding for labelled in support for finding in check(labelled)):
        if finding.severity == "error":
            errors.append(finding.message)
        elif finding.severity == "warning":
            progress.warn(finding.message)
        else:
            progress.note(finding.message)
    if errors:
        raise InputError("; ".join(errors))
