"""`medpipe harmonise`: ComBat between centres, fitted on development subjects alone."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from cli.common import Quiet, beside, set_up
from pipeline.errors import ModelError, SettingsError

app = typer.Typer(help="Harmonise features between centres.", no_args_is_help=True)

Features = Annotated[Path, typer.Option(help="Table with a row per subject.")]
Subjects = Annotated[Path, typer.Option(help="Sheet with subject, split, centre, covariates.")]

_KINDS = ("continuous", "categorical", "spline")


@app.command()
def fit(
    features: Features,
    subjects: Subjects,
    covariates: Annotated[
        str,
        typer.Option(help="Columns of the sheet whose effect is kept: a,b or a:categorical,b."),
    ] = "",
    feature_set: Annotated[
        str | None, typer.Option(help="Prefix of the columns. Default: all that the sheet lacks.")
    ] = None,
    reference: Annotated[
        str | None, typer.Option(help="Centre that stays as it is. Default: none.")
    ] = None,
    mean_only: Annotated[
        bool, typer.Option("--mean-only", help="Shift the centres, do not scale them.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Record. Default: combat.json beside the table.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Fit shift and scale of every centre on the development subjects.

    Example: medpipe harmonise fit --features t.tsv --subjects s.tsv --covariates age_years
    """
    set_up(1, quiet)
    from pipeline.io import read_table, write_json
    from pipeline.model.groups import kind_of
    from pipeline.model.harmonise_tables import fit_combat_table
    from pipeline.provenance import write_sidecars

    sheet = read_table(subjects)
    if "split" in sheet and set(sheet["split"]) == {"test"}:
        raise ModelError(f"{subjects}: column split names no row development; check its values")
    kinds = {
        name: kind or (kind_of(sheet[name]) if name in sheet else "continuous")
        for name, kind in _covariates(covariates).items()
    }
    fitted = fit_combat_table(
        read_table(features),
        sheet,
        feature_set=feature_set,
        covariates=kinds,
        reference=reference,
        mean_only=mean_only,
        sources=(str(features), str(subjects)),
    )
    target = out or features.resolve().parent / "combat.json"
    write_json(target, fitted.to_record())
    write_sidecars(
        [target],
        block="model",
        inputs=[features, subjects],
        settings={"feature_set": feature_set, "covariates": kinds, "reference": reference}
        | {"mean_only": mean_only},
        measured=dict(zip(fitted.combat.centres, fitted.combat.counts.tolist(), strict=True)),
    )
    typer.echo(f"{target}")


@app.command()
def apply(
    combat: Annotated[Path, typer.Option(help="Record made by `medpipe harmonise fit`.")],
    features: Features,
    subjects: Subjects,
    unseen: Annotated[
        Literal["error", "pooled", "keep"],
        typer.Option(
            help="For a centre that the fit has not seen. error: stop. keep: values as measured."
            " pooled: remove the mean effect of the known centres."
        ),
    ] = "error",
    out: Annotated[
        Path | None, typer.Option(help="Table. Default: FEATURES_harmonised.tsv beside it.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Transform subjects, old or new, with what was fitted.

    Example: medpipe harmonise apply --combat combat.json --features t.tsv --subjects s.tsv
    """
    set_up(1, quiet)
    from pipeline.io import read_json, read_table, write_table
    from pipeline.model.harmonise_tables import TableCombat, apply_combat_table
    from pipeline.provenance import write_sidecars

    record = read_json(combat)
    if not isinstance(record, dict):
        raise ModelError(f"{combat}: no ComBat record; make one with `medpipe harmonise fit`")
    table = apply_combat_table(
        TableCombat.from_record(record),
        read_table(features),
        read_table(subjects),
        unseen=unseen,
        sources=(str(features), str(subjects)),
    )
    target = out or beside(features, "_harmonised.tsv")
    write_table(target, table)
    write_sidecars(
        [target], block="model", inputs=[combat, features, subjects], settings={"unseen": unseen}
    )
    typer.echo(f"{target}")


def _covariates(
    text: str,
) -> dict[str, Literal["continuous", "categorical", "spline"] | None]:
    found: dict[str, Literal["continuous", "categorical", "spline"] | None] = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, _, kind = part.partition(":")
        if kind and kind not in _KINDS:
            raise SettingsError(
                f"--covariates {part}: kind {kind!r} is none of {', '.join(_KINDS)}"
            )
        found[name] = kind or None  # type: ignore[assignment]
    return found
