"""Flags of the models that leave unstable features out."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from pipeline.config import StabilitySettings
    from pipeline.model.stability_filter import StabilityFilter

Stability = Annotated[
    str,
    typer.Option(help="Leave unstable features out: a table of `medpipe stability icc`, or the "
                      "repeated features with --stability-repeat-column."),
]  # fmt: skip
RepeatColumn = Annotated[
    str,
    typer.Option("--stability-repeat-column", help="Column of the repeats: stability is then told "
                                                   "anew in each fold, by its training subjects."),
]  # fmt: skip
AgreementModel = Annotated[
    Literal["1,1", "2,1", "3,1"],
    typer.Option("--stability-model", help="Intraclass correlation of the repeats."),
]
Threshold = Annotated[
    float,
    typer.Option("--stability-threshold", help="Least lower limit of its 95 % interval."),
]


def read_filter(settings: "StabilitySettings") -> "StabilityFilter | None":
    """Return the filter that is asked for, its table read; None without one."""
    if not settings.stability:
        return None
    from pipeline.io import read_table
    from pipeline.model.stability_filter import stability_filter

    return stability_filter(
        read_table(Path(settings.stability)),
        repeat_column=settings.stability_repeat_column or None,
        model=settings.stability_model,
        threshold=settings.stability_threshold,
        source=settings.stability,
    )


def filter_files(settings: "StabilitySettings") -> list[Path]:
    """Return the files that the filter reads."""
    return [Path(settings.stability)] if settings.stability else []
