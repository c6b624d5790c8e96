"""`medpipe delta`: how the features of a table changed between sessions."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from cli.common import EXIT_FAILED_CASES, Quiet, set_up


def delta(
    features: Annotated[Path, typer.Argument(help="Wide table: subject, session, features.")],
    first: Annotated[
        str | None,
        typer.Option("--from", help="First session. Default: the earliest by the column --time."),
    ] = None,
    others: Annotated[
        list[str] | None,
        typer.Option("--to", help="Session held against it; repeat. Default: every other one."),
    ] = None,
    mode: Annotated[
        Literal["relative", "percent", "absolute", "log_ratio"],
        typer.Option(
            help="(first - second) / first, times 100, first - second, or ln(first/second)."
        ),
    ] = "relative",
    sign: Annotated[
        Literal["decrease", "increase"],
        typer.Option(help="What is positive; increase is second - first, the usual sign."),
    ] = "decrease",
    time: Annotated[
        str | None,
        typer.Option(
            help="Column with the time: it ends in _days, _months or _years, or has dates."
        ),
    ] = None,
    per: Annotated[
        Literal["day", "month", "year"] | None,
        typer.Option(help="Divide by the time between the sessions."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Default: FEATURES_delta.tsv.")] = None,
    quiet: Quiet = False,
) -> None:
    """Write a row for each region and pair of sessions, with the change of every feature.

    A change that cannot be computed is an empty cell; the columns status and reason say why. With
    rows that have none at all the exit code is 3.

    Example: medpipe delta features.tsv --from baseline --to followup --mode relative
    """
    set_up(1, quiet)
    from dataclasses import asdict

    from pipeline.io import read_table, write_table
    from pipeline.provenance import write_sidecars
    from pipeline.radiomics.delta_table import DeltaSettings, delta_table

    settings = DeltaSettings(mode=mode, sign=sign, time=time, per=per)
    found = delta_table(read_table(features), first=first, others=others or None, settings=settings)
    target = out or features.with_name(f"{features.stem}_delta.tsv")
    write_table(target, found)
    counts = {str(status): int(n) for status, n in found["status"].value_counts().items()}
    write_sidecars(
        [target],
        block="radiomics",
        inputs=[features],
        settings={"from": first, "to": others or None, **asdict(settings)},
        measured={"rows": len(found), **counts},
    )
    told = ", ".join(f"{n} {status}" for status, n in counts.items())
    typer.echo(f"{len(found)} rows ({told}): {target}")
    if counts.get("failed"):
        for _, row in found[found["status"] == "failed"].iterrows():
            where = f"{row['subject']}, {row['session_from']} to {row['session_to'] or '?'}"
            typer.echo(f"no change: {where}: {row['reason']}", err=True)
        raise typer.Exit(EXIT_FAILED_CASES)
