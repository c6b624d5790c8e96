"""`medpipe bench`: what a run cost, from the sidecars of its results."""

from pathlib import Path
from typing import Annotated

import typer


def bench(
    study_dir: Annotated[Path, typer.Argument(help="Folder of a finished study.")],
    out: Annotated[Path | None, typer.Option(help="Also write the table here (TSV).")] = None,
) -> None:
    """Print seconds and peak memory per block and subject of the last run.

    Example: medpipe bench results/nact
    """
    from pipeline.bench import costs, summary
    from pipeline.io import read_json, write_table

    records = [(path, read_json(path)) for path in sorted(study_dir.rglob("*.prov.json"))]
    table = costs([(str(path.relative_to(study_dir)), record) for path, record in records])
    typer.echo(table.to_string(index=False, float_format=lambda v: f"{v:.1f}"))
    typer.echo("\nper block, over its jobs:")
    typer.echo(summary(table).to_string(index=False, float_format=lambda v: f"{v:.1f}"))
    if out is not None:
        write_table(out, table)
