"""``lowshot evaluate``: how good predictions are, where the truth is known."""

from pathlib import Path
from typing import Annotated

import typer

from lowshot.cli.options import AsJson, IgnoreValue, NamesFile, require_folder_name
from lowshot.cli.terminal import Terminal
from lowshot.errors import SomeScansFailed
from lowshot.wording import counted

Predictions = Annotated[Path, typer.Argument(help="Folder of label maps, or one.")]
Truth = Annotated[Path, typer.Argument(help="Folder of label maps of the same names, or one.")]
Folder = Annotated[Path, typer.Option("--output", "-o", help="Folder for report.html, scores.csv, summary.json.")]
Images = Annotated[Path | None, typer.Option(help="Folder with the scans, for the pictures of the report.")]
AnnotatedSlice = Annotated[
    str | None,
    typer.Option(
        metavar="INDEX",
        help="The only annotated slice of each truth, from 0 in its file's own order; AXIS:INDEX for another axis.",
    ),
]
Structures = Annotated[
    str | None,
    typer.Option(metavar="NAME,…", help="What is annotated in the truth, if not all that is predicted; alone scored."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a report that is there already.")]
Variants = Annotated[bool, typer.Option("--variants", help="Also compute Dice and HD95 as other scorers do.")]


def evaluate(
    *,
    predictions: Predictions,
    truth: Truth,
    output: Folder,
    names: NamesFile = None,
    images: Images = None,
    ignore_value: IgnoreValue = None,
    annotated_slice: AnnotatedSlice = None,
    structures: Structures = None,
    variants: Variants = False,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Compare predictions with the truth: Dice, HD95 and volumes, and a page to look at.

    A case without a prediction counts as an empty one: Dice 0. Example:

    lowshot evaluate segmentations/ truth/ --names names.txt --images scans/ -o evaluation/
    """
    terminal = Terminal(as_json)

    from lowshot.evaluation.folders import evaluate_folders
    from lowshot.imaging.names_file import read_names
    from lowshot.inputs.table import parse_slice
    from lowshot.reporting.score_tables import summary_table
    from lowshot.reporting.write import evaluation_summary, require_place, write_evaluation

    require_folder_name(output)
    require_place(output, overwrite)
    evaluation = evaluate_folders(
        predictions,
        truth,
        images=images,
        names=read_names(names) if names else None,
        ignore_value=ignore_value,
        annotated_slice=parse_slice(annotated_slice or "", "--annotated-slice"),
        structures=[name.strip() for name in structures.split(",")] if structures else None,
        variants=variants,
        progress=terminal.progress,
    )
    for note in evaluation.notes:
        terminal.progress.note(note)
    if evaluation.missing:
        terminal.progress.warn(f"no prediction, which counts as an empty one: {', '.join(evaluation.missing)}")
    written = write_evaluation(evaluation, output, {"names": str(names)} if names else None)
    files = {"report": str(written.report), "scores": str(written.scores), "summary": str(written.summary)}
    summary = {**evaluation_summary(evaluation), "files": files}
    terminal.result(summary, summary_table(evaluation), f"Report: {written.report}")
    if evaluation.failed:
        raise SomeScansFailed(
            f"{counted(len(evaluation.failed), 'case')} could not be scored; the first: {evaluation.failed[0]}"
        )
