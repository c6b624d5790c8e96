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
    if len(frame.columns) > 8:
        frame = frame.set_index(frame.columns[0]).T.rename_axis(None, axis=1)
        text = frame.to_string(float_format=_short, na_rep="")
    else:
        text = frame.to_string(float_format=_short, na_rep="", index=False)
    typer.echo(text)


def _short(value: float) -> str:
    return f"{value:.3f}"
