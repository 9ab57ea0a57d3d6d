"""From a scan to its segmentation, with a trained model: ``lowshot.segment``; from files: ``segmenting_files.py``."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from lowshot.contract import Result
from lowshot.imaging.placement import unlike_shown
from lowshot.imaging.scan import Scan
from lowshot.inference.predict import predict
from lowshot.model_file import Fitted
from lowshot.settings import build
from lowshot.training.plan import Precision
from lowshot.training.run import Run


def segment(
    fitted: Fitted,
    scan: Scan,
    *,
    options: Mapping[str, Any] | None = None,
    device: str = "auto",
    precision: Precision | Literal["auto"] = "auto",
    threads: int | None = None,
) -> Result:
    """Segment one scan on its own grid.

    Args:
        fitted: what ``fit`` or ``load`` returned.
        scan: with the model's channels, in the model's order.
        options: what the method offers at inference, by name.
        device: "auto", or a name that PyTorch knows.
        precision: "auto" measures whether bfloat16 pays.
        threads: of PyTorch on the CPU; None leaves them as they are.

    Raises:
        ChannelMismatch: the scan has other channels than the model was made for.
        SettingsError: no such option.
        ModelFileError: the model needs an example first.
    """
    run = Run(device=device, precision=precision, threads=threads)
    result = predict(fitted.segmenter(), scan, run, options_of(fitted, options))
    return with_doubts(result, fitted, scan)


def with_doubts(result: Result, fitted: Fitted, scan: Scan) -> Result:
    """The result, with notes where the scan is unlike those that the model was shown."""
    shown = fitted.provenance.get("support_lie")
    doubts = unlike_shown(scan, shown if isinstance(shown, list) else [], fitted.segmenter().preparation)
    return replace(result, notes=(*result.notes, *doubts))


def options_of(fitted: Fitted, values: Mapping[str, Any] | None = None) -> Any:
    """The method's options at inference, checked."""
    return build(fitted.method.Options, values or {}, where=f"options of {fitted.name}")
