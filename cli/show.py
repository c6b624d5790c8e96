"""`medpipe show`: a result table, readable on a terminal."""

from pathlib import Path
from typing import Annotated

import typer


def show(
    table: Annotated[Path, typer.Argument(help="A table that medpipe wrote (TSV).")],
) -> None:
    """Print a table with aligned columns and three decimals; the file keeps full precision.

    Wide tables are printed on their side, a column per row of the file.

    Example: medpipe show results/nact_auc.tsv
    """
    from pipeline.io import read_table

    frame = read_table(table)
    first = frame.columns[0]
    if len(frame.columns) > 8:
        frame = frame.set_index(first).T.rename_axis(None, axis=1)
    typer.echo(
        frame.to_string(
            float_format=lambda v: f"{v:.3f}",
            na_rep="",
            index=frame.index.name is not None or len(frame.columns) > 0,
        )
    )
