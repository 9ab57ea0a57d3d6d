"""Low-shot medical image segmentation: annotate one scan, get the rest.

    import lowshot

    example = lowshot.read_labelled("1000.nii.gz", "1000_labels.nii.gz", names=lowshot.read_names("names.txt"))
    task = lowshot.LowShotTask(example.truth.names, [example])
    fitted = lowshot.fit(task, minutes=20)
    fitted.save("brain.safetensors")
    scan = lowshot.read_scan("1001.nii.gz")
    result = lowshot.segment(fitted, scan)
    lowshot.write_segmentation(result.segmentation, "1001_seg.nii.gz", scan.source)

Everything public is listed below, and imported when it is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lowshot.adapting import adapt
    from lowshot.contract import Learner, Method, Model, Quality, Result
    from lowshot.errors import LowshotError
    from lowshot.evaluation.evaluate import evaluate
    from lowshot.evaluation.folders import evaluate_folders
    from lowshot.evaluation.scores import Evaluation, Pair
    from lowshot.fitting import fit
    from lowshot.imaging.check import check
    from lowshot.imaging.files import read_scan, write_segmentation, write_volume
    from lowshot.imaging.label_maps import read_labelled, read_labels
    from lowshot.imaging.laterality import mirror_pairs
    from lowshot.imaging.names import Names
    from lowshot.imaging.names_file import read_names
    from lowshot.imaging.scan import LabelledScan, Scan, Segmentation
    from lowshot.model_file import Fitted, load
    from lowshot.reporting.write import write_evaluation
    from lowshot.segmenting import segment
    from lowshot.task import LowShotTask

__all__ = [
    "Evaluation",
    "Fitted",
    "LabelledScan",
    "Learner",
    "LowShotTask",
    "LowshotError",
    "Method",
    "Model",
    "Names",
    "Pair",
    "Quality",
    "Result",
    "Scan",
    "Segmentation",
    "adapt",
    "check",
    "evaluate",
    "evaluate_folders",
    "fit",
    "load",
    "mirror_pairs",
    "read_labelled",
    "read_labels",
    "read_names",
    "read_scan",
    "segment",
    "write_evaluation",
    "write_segmentation",
    "write_volume",
]

_HOME = {
    "lowshot.adapting": ("adapt",),
    "lowshot.contract": ("Learner", "Method", "Model", "Quality", "Result"),
    "lowshot.errors": ("LowshotError",),
    "lowshot.evaluation.evaluate": ("evaluate",),
    "lowshot.evaluation.folders": ("evaluate_folders",),
    "lowshot.evaluation.scores": ("Evaluation", "Pair"),
    "lowshot.fitting": ("fit",),
    "lowshot.imaging.check": ("check",),
    "lowshot.imaging.files": ("read_scan", "write_segmentation", "write_volume"),
    "lowshot.imaging.label_maps": ("read_labelled", "read_labels"),
    "lowshot.imaging.laterality": ("mirror_pairs",),
    "lowshot.imaging.names": ("Names",),
    "lowshot.imaging.names_file": ("read_names",),
    "lowshot.imaging.scan": ("LabelledScan", "Scan", "Segmentation"),
    "lowshot.model_file": ("Fitted", "load"),
    "lowshot.reporting.write": ("write_evaluation",),
    "lowshot.segmenting": ("segment",),
    "lowshot.task": ("LowShotTask",),
}
_MODULE = {name: module for module, names in _HOME.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE:
        raise AttributeError(f"module 'lowshot' has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULE[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *__all__]
