"""`medpipe table-one`: who the subjects are, group by group."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cli.common import Quiet, beside, set_up
from pipeline.errors import CohortError, SettingsError

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["continuous", "categorical", "ordinal"]

_KINDS: dict[str, Kind] = {
    "continuous": "continuous",
    "categorical": "categorical",
    "ordinal": "ordinal",
}


def table_one(
    subjects: Annotated[Path, typer.Argument(help="Table with a row per subject.")],
    group: Annotated[str, typer.Option(help="Column that splits the subjects.")] = "split",
    variables: Annotated[
        str,
        typer.Option(
            help="Columns to describe, kinds where a guess may fail: age_years,stage:ordinal."
            " Default: every column but subject and the group."
        ),
    ] = "",
    nonnormal: Annotated[
        str, typer.Option(help="Variables to show as median and quartiles and compare by ranks.")
    ] = "",
    counts_test: Annotated[
        Literal["auto", "chi-square", "fisher"],
        typer.Option(help="Of categories. auto: Fisher where an expected count is below 5."),
    ] = "auto",
    means_test: Annotated[
        Literal["equal", "welch"], typer.Option(help="Variances of the groups.")
    ] = "equal",
    out: Annotated[
        Path | None, typer.Option(help="Table. Default: SUBJECTS_table_one.tsv beside it.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Describe the subjects by group: test, standardised difference and missing values.

    Example: medpipe table-one subjects.tsv --group split --variables age_years,stage:categorical
    """
    set_up(1, quiet)
    from pipeline.io import read_table, write_table
    from pipeline.model import table_one as model
    from pipeline.provenance import write_sidecars

    frame = read_table(subjects)
    _check_subjects(frame, str(subjects))
    asked = _variables(variables) or {
        str(name): None for name in frame.columns if name not in ("subject", group)
    }
    table = model.table_one(
        frame,
        group,
        asked,
        nonnormal=[name.strip() for name in nonnormal.split(",") if name.strip()],
        counts_test=counts_test,
        means_test=means_test,
        source=str(subjects),
    )
    target = out or beside(subjects, "_table_one.tsv")
    write_table(target, table)
    write_sidecars(
        [target],
        block="model",
        inputs=[subjects],
        settings={"group": group, "variables": asked, "nonnormal": nonnormal}
        | {"counts_test": counts_test, "means_test": means_test},
    )
    if not quiet:
        _show(table)
    typer.echo(f"{target}")


def _check_subjects(frame: "pd.DataFrame", source: str) -> None:
    """Stop at a subject with two rows, who would be counted twice."""
    if "subject" not in frame:
        return
    names = frame["subject"].dropna().astype(str)
    twice = sorted(set(names[names.duplicated()]))
    if twice:
        raise CohortError(
            [f"{source}: subject {name} has two rows; keep one row per subject" for name in twice]
        )


def _variables(text: str) -> dict[str, Kind | None]:
    found: dict[str, Kind | None] = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, _, kind = part.partition(":")
        if kind and kind not in _KINDS:
            raise SettingsError(f"--variables {part}: kind {kind!r} is none of {', '.join(_KINDS)}")
        found[name] = _KINDS.get(kind)
    return found


def _show(table: "pd.DataFrame") -> None:
    """Print aligned text: a variable's name once, its levels below."""
    from rich.console import Console
    from rich.measure import Measurement
    from rich.table import Table
    from rich.text import Text

    groups = [n for n in table.columns if n not in ("variable", "level", "p", "p_test", "smd", "n")]
    view = Table(box=None, pad_edge=False, header_style="")
    for name in ("variable", "level"):
        view.add_column(name, no_wrap=True)
    for name in (*groups, "p", "SMD"):
        view.add_column(name, justify="right", no_wrap=True)
    view.add_column("test", no_wrap=True)
    last = ""
    for row in table.to_dict("records"):
        shown = "" if row["variable"] == last else str(row["variable"])
        last = str(row["variable"])
        numbers = [_number(row["p"], p=True), _number(row["smd"])]
        cells = [shown, row["level"], *(row[g] for g in groups), *numbers, row["p_test"]]
        view.add_row(*(Text(str(cell)) for cell in cells))
    console = Console(highlight=False)
    wide = Measurement.get(console, console.options.update(max_width=10_000), view).maximum
    # a cut table tells less than one that runs over the edge
    Console(highlight=False, width=max(wide, console.width), soft_wrap=True).print(view)


def _number(value: float, *, p: bool = False) -> str:
    if value != value:  # NaN
        return ""
    if p and value < 0.001:
        return "<0.001"
    return f"{value:.3f}"
