"""`medpipe nomogram`: fit a Cox or a logistic model on a table and draw its nomogram."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import typer

from cli.common import Quiet, beside, numbers, set_up
from pipeline.errors import CohortError, ModelError, SettingsError

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.model.nomogram import Nomogram
    from pipeline.model.terms import Term


def nomogram(
    table: Annotated[Path, typer.Argument(help="Table with a row per subject.")],
    terms: Annotated[
        str,
        typer.Option(help="name:kind,name:kind; kind: continuous, categorical or spline."),
    ],
    outcome: Annotated[
        str, typer.Option(help="Logistic model: column of 0 and 1. Empty: a Cox model.")
    ] = "",
    time: Annotated[str, typer.Option(help="Cox model: column of months.")] = "time_months",
    event: Annotated[str, typer.Option(help="Cox model: column of 1 (event) and 0.")] = "event",
    horizons: Annotated[str, typer.Option(help="Cox model: months, with commas.")] = "36,60",
    name: Annotated[
        str, typer.Option(help="What the probability is of, e.g. 'disease-free survival'.")
    ] = "",
    probability: Annotated[
        Literal["survival", "event"], typer.Option(help="Cox model: what the axes show.")
    ] = "survival",
    label: Annotated[
        list[str] | None, typer.Option(metavar="NAME=TEXT", help="Name of a term for readers.")
    ] = None,
    unit: Annotated[
        list[str] | None, typer.Option(metavar="NAME=TEXT", help="Unit of a term.")
    ] = None,
    reference: Annotated[
        list[str] | None, typer.Option(metavar="NAME=LEVEL", help="Reference level of a term.")
    ] = None,
    range_: Annotated[
        list[str] | None,
        typer.Option("--range", metavar="NAME=LOW,HIGH", help="Ends (or all ticks) of an axis."),
    ] = None,
    knots: Annotated[int, typer.Option(min=3, max=7, help="Knots of each spline.")] = 4,
    scale: Annotated[
        Literal["probability", "percent"], typer.Option(help="Labels of the probability axes.")
    ] = "probability",
    linear_predictor: Annotated[
        bool, typer.Option("--linear-predictor", help="Draw the linear predictor too.")
    ] = False,
    study: Annotated[str, typer.Option(help="Where the subjects come from, for the page.")] = "",
    out: Annotated[
        Path | None, typer.Option(help="Folder. Default: TABLE_nomogram beside the table.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Fit on the development subjects (all, without a column split); write the nomogram.

    Writes nomogram.tsv, .json, .svg, .png and .html (an offline page with sliders), model.json
    and coefficients.tsv. Subjects without a value of a term or of the outcome are left out.

    Example: medpipe nomogram subjects.tsv --terms age_years:continuous,stage:categorical
    --horizons 36,60 --name "disease-free survival" --out nomogram
    """
    set_up(1, quiet)
    from pipeline.io import read_table, write_json, write_table
    from pipeline.model.nomogram import build_nomogram
    from pipeline.model.terms import fit_terms
    from pipeline.provenance import write_sidecars

    kinds = _kinds(terms)
    outcomes = (outcome,) if outcome else (time, event)
    rows = _development(read_table(table), [*outcomes, *kinds], str(table))
    fitted = fit_terms(
        rows, kinds, source=str(table), n_knots=knots, references=_pairs(reference, "--reference"),
        labels=_pairs(label, "--label"), units=_pairs(unit, "--unit"),
    )  # fmt: skip
    if outcome:
        model, record, coefficients = _logistic(rows, fitted, outcome, name, str(table))
    else:
        months = numbers(horizons, "--horizons")
        model, record, coefficients = _cox(rows, fitted, (time, event), months, name, str(table))
    ranges = {k: numbers(v, "--range") for k, v in _pairs(range_, "--range").items()}
    drawn = build_nomogram(model, ranges=ranges, probability=probability)
    folder = out or beside(table, "_nomogram")
    write_json(folder / "model.json", record | {"terms": [t.to_record() for t in fitted]})
    write_table(folder / "coefficients.tsv", coefficients)
    written = write_nomogram(
        folder, drawn, study=study, scale=scale, linear_predictor=linear_predictor
    )
    write_sidecars(
        [folder / "model.json", folder / "coefficients.tsv", *written],
        block="model",
        inputs=[table],
        settings={"outcome": outcome, "time": time, "event": event, "terms": terms,
                  "horizons_months": horizons, "probability": probability, "knots": knots,
                  "references": reference or [], "ranges": range_ or []},
        measured={"subjects": model.n, "events": model.events},
    )  # fmt: skip
    typer.echo(f"{folder / 'nomogram.html'}")


def write_nomogram(
    folder: Path,
    nomogram: "Nomogram",
    *,
    title: str = "",
    study: str = "",
    notes: Sequence[str] = (),
    scale: Literal["probability", "percent"] = "probability",
    linear_predictor: bool = False,
) -> list[Path]:
    """Write nomogram.tsv, .json, .svg, .png (300 dpi) and .html into a folder; return them."""
    from pipeline.io import write_bytes, write_json, write_table, write_text
    from pipeline.report.nomogram_figure import nomogram_figure
    from pipeline.report.nomogram_page import nomogram_page

    paths = [folder / f"nomogram.{ending}" for ending in ("tsv", "json", "svg", "png", "html")]
    write_table(paths[0], nomogram.table())
    write_json(paths[1], nomogram.to_record())
    for path, media in ((paths[2], "svg"), (paths[3], "png")):
        write_bytes(
            path,
            nomogram_figure(
                nomogram,
                media="svg" if media == "svg" else "png",
                scale=scale,
                linear_predictor=linear_predictor,
            ),
        )
    page = nomogram_page(nomogram, title=title, study=study, notes=notes, scale=scale)
    write_text(paths[4], page)
    return paths


def _logistic(
    rows: "pd.DataFrame", terms: "tuple[Term, ...]", outcome: str, name: str, source: str
) -> tuple[Any, dict[str, Any], "pd.DataFrame"]:
    from pipeline.model.logistic import fit_logistic
    from pipeline.model.nomogram import nomogram_model_of_logistic
    from pipeline.model.terms import design_matrix

    matrix, names = design_matrix(rows, terms, source=source)
    _check_binary(rows, outcome, source)
    fit = fit_logistic(matrix, names, rows[outcome].to_numpy(dtype=float))
    model = nomogram_model_of_logistic(fit, terms, matrix=matrix, title=name or outcome)
    table = _coefficients(terms, fit.coefficients, fit.standard_errors[1:], "odds_ratio")
    return model, fit.to_record(), table


def _cox(
    rows: "pd.DataFrame",
    terms: "tuple[Term, ...]",
    columns: tuple[str, str],
    months: tuple[float, ...],
    name: str,
    source: str,
) -> tuple[Any, dict[str, Any], "pd.DataFrame"]:
    from pipeline.model.nomogram import nomogram_model_of_cox
    from pipeline.model.survival.cox import fit_cox
    from pipeline.model.survival.outcome import check_outcome
    from pipeline.model.terms import design_matrix

    subjects = [str(subject) for subject in rows.index]
    time, event = (_numeric(rows, column, source) for column in columns)
    known = check_outcome(time, event, subjects=subjects, source=source, columns=columns)
    matrix, names = design_matrix(rows, terms, source=source)
    fit = fit_cox(matrix, names, known, subjects=subjects)
    model = nomogram_model_of_cox(
        fit, terms, months, matrix=matrix, outcome=known, title=name or "survival"
    )
    table = _coefficients(terms, fit.coefficients, fit.standard_errors, "hazard_ratio")
    return model, fit.to_record(), table


def _coefficients(
    terms: "Sequence[Term]", coefficients: Any, errors: Any, ratio: str
) -> "pd.DataFrame":
    """Return variable, level, coefficient, se, ratio, low95, high95, z, p per column."""
    import numpy as np
    import pandas as pd
    from scipy.stats import norm

    names = []
    for term in terms:
        for column in term.columns:
            level = column if term.kind == "spline" else ""
            names.append((term.name, column.partition("=")[2] or level))
    beta, se = np.asarray(coefficients), np.asarray(errors)
    half = float(norm.ppf(0.975)) * se
    return pd.DataFrame(
        {
            "variable": [variable for variable, _ in names],
            "level": [level for _, level in names],
            "coefficient": beta,
            "se": se,
            ratio: np.exp(beta),
            "low95": np.exp(beta - half),
            "high95": np.exp(beta + half),
            "z": beta / se,
            "p": 2 * norm.sf(np.abs(beta / se)),
        }
    )


def _development(table: "pd.DataFrame", columns: list[str], source: str) -> "pd.DataFrame":
    """Return the complete development rows, indexed and sorted by subject."""
    import logging

    from pipeline.model.terms import complete_rows

    if "subject" not in table.columns:
        raise ModelError(f"{source}: there is no column subject; name the rows in one")
    if table["subject"].isna().any():
        row = int(table["subject"].isna().to_numpy().argmax()) + 2
        raise CohortError([f"{source}: column subject, row {row}: empty; name the subject"])
    twice = sorted(set(table["subject"][table["subject"].duplicated()].astype(str)))
    if twice:
        raise CohortError(
            [f"{source}: subject {name} is there twice; keep one row per subject" for name in twice]
        )
    rows = table.set_index(table["subject"].astype(str)).sort_index()
    if "split" in rows.columns:
        rows = rows[rows["split"] == "development"]
        if rows.empty:
            raise ModelError(f"{source}: column split names no row development; check its values")
    complete = complete_rows(rows, columns, source=source)
    if not complete.any():
        raise ModelError(f"{source}: no subject has a value in all of {', '.join(columns)}")
    logging.getLogger(__name__).info(
        "%d of %d development subjects are complete and fitted", complete.sum(), len(rows)
    )
    return rows[complete]


def _check_binary(rows: "pd.DataFrame", outcome: str, source: str) -> None:
    values = _numeric(rows, outcome, source)
    for subject, value in zip(rows.index, values, strict=True):
        if value not in (0.0, 1.0):
            raise ModelError(
                f"{source}: column {outcome}, subject {subject}: {value:g} is neither 0 nor 1;"
                " code the outcome as 0 and 1"
            )


def _numeric(rows: "pd.DataFrame", column: str, source: str) -> Any:
    import pandas as pd

    values = pd.to_numeric(rows[column], errors="coerce")
    if values.isna().any():
        subject = rows.index[values.isna()][0]
        raise ModelError(
            f"{source}: column {column}, subject {subject}:"
            f" {rows.loc[subject, column]!r} is no number; correct it"
        )
    return values.to_numpy(dtype=float)


def _kinds(text: str) -> dict[str, Any]:
    from pipeline.model.terms import Kind

    found: dict[str, Any] = {}
    for part in text.split(","):
        name, _, kind = part.strip().rpartition(":")
        if not name or kind not in get_args(Kind):
            raise SettingsError(
                f"--terms {part.strip()!r}: give name:kind with kind continuous, categorical or"
                " spline, e.g. age:continuous,stage:categorical"
            )
        if name in found:
            raise SettingsError(f"--terms: {name} is there twice; name each term once")
        found[name] = kind
    return found


def _pairs(values: list[str] | None, flag: str) -> Mapping[str, str]:
    found = {}
    for value in values or []:
        name, equals, text = value.partition("=")
        if not equals or not name or not text:
            raise SettingsError(f"{flag} {value!r}: give name=text, e.g. {flag} age=Age")
        found[name] = text
    return found
