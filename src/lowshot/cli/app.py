"""The command ``lowshot``. One file per command; nothing heavy is imported before a command runs."""

import os
from typing import Annotated

import typer

from lowshot.cli.adapt import adapt
from lowshot.cli.bench import bench
from lowshot.cli.choose import choose
from lowshot.cli.datasets import datasets
from lowshot.cli.demo import demo
from lowshot.cli.doctor import doctor
from lowshot.cli.errors import reported
from lowshot.cli.evaluate import evaluate
from lowshot.cli.fit import fit
from lowshot.cli.methods import methods
from lowshot.cli.segment import segment

app = typer.Typer(
    help="Annotate one scan. Get the rest: low-shot medical image segmentation.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (choose, fit, adapt, segment, evaluate, demo, bench, datasets, methods, doctor):
    app.command(no_args_is_help=command in (choose, fit, adapt, segment, evaluate, doctor))(reported(command))


def _print_version(wanted: bool) -> bool:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"lowshot {version('lowshot')}")
        raise typer.Exit
    return wanted


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Annotate one scan. Get the rest: low-shot medical image segmentation."""


def main() -> None:
    """Run the command line."""
    _share_the_processor()
    app(prog_name="lowshot")


def _share_the_processor() -> None:
    """Let threads that wait for each other sleep soon, unless the user has said how they should wait.

    PyTorch's (libgomp's) spin for milliseconds. Where other programs want the same cores they spin away the time that
    the thread they wait for would need.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
