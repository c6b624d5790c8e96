"""`medpipe survival`: LASSO-Cox Rad-score, cut-off, Cox models, nomogram, validation, page."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import survival_report
from cli.common import Quiet, Seed, beside, set_up
from cli.stability_options import (
    AgreementModel,
    RepeatColumn,
    Stability,
    Threshold,
    filter_files,
    read_filter,
)
from pipeline.config import SurvivalSettings
from pipeline.errors import ModelError, SettingsError

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.model.nomogram import Nomogram
    from pipeline.model.survival.chain import SurvivalFit, SurvivalModel, SurvivalOptions
    from pipeline.model.survival.design import SurvivalDesign

app = typer.Typer(
    help="Survival studies: fit on development subjects, evaluate frozen models, draw the page.",
    no_args_is_help=True,
)

app.command("report")(survival_report.survival)

_DEFAULT = SurvivalSettings()

FeaturesTable = Annotated[
    Path, typer.Option(help="Table with a row per subject, columns set.feature.")
]
Subjects = Annotated[
    Path, typer.Option(help="Sheet with subject, split, centre, time, event, covariates.")
]
Model = Annotated[Path, typer.Option(help="Frozen model (model.json).")]


@app.command()
def fit(
    features_table: FeaturesTable,
    subjects: Subjects,
    features: Annotated[str, typer.Option(help="Feature set: prefix of the columns.")] = (
        _DEFAULT.features
    ),
    time: Annotated[str, typer.Option(help="Column of months.")] = _DEFAULT.time,
    event: Annotated[str, typer.Option(help="Column of events: 1 seen, 0 censored.")] = (
        _DEFAULT.event
    ),
    endpoint: Annotated[
        str, typer.Option(help="What survives, e.g. 'disease-free survival'.")
    ] = _DEFAULT.endpoint,
    labels: Annotated[
        str, typer.Option(help="Names for readers: age_years:Age,stage:TNM stage.")
    ] = "",
    covariates: Annotated[
        str,
        typer.Option(help="Clinical model: name:kind,name:kind; kind as for nomogram."),
    ] = "",
    references: Annotated[
        str, typer.Option(help="Reference levels: cea:low,sex:female. Default: first level.")
    ] = "",
    nomogram: Annotated[str, typer.Option(help="Terms of the nomogram, e.g. rad_score,stage.")] = (
        "rad_score"
    ),
    score_as: Annotated[str, typer.Option(help="continuous or dichotomised.")] = _DEFAULT.score_as,
    harmonise: Annotated[str, typer.Option(help="none or combat.")] = _DEFAULT.harmonise,
    unseen_centre: Annotated[
        str, typer.Option(help="ComBat for a new centre: error, keep, pooled.")
    ] = _DEFAULT.unseen_centre,
    filter: Annotated[str, typer.Option(help="none, intensity or variance.")] = _DEFAULT.filter,
    filter_keep: Annotated[float, typer.Option(help="Share of features the filter keeps.")] = (
        _DEFAULT.filter_keep
    ),
    stability: Stability = _DEFAULT.stability,
    stability_repeat_column: RepeatColumn = _DEFAULT.stability_repeat_column,
    stability_model: AgreementModel = _DEFAULT.stability_model,
    stability_threshold: Threshold = _DEFAULT.stability_threshold,
    l1_ratio: Annotated[float, typer.Option(help="1: LASSO; less: elastic net.")] = (
        _DEFAULT.l1_ratio
    ),
    lambda_min_ratio: Annotated[
        float, typer.Option(help="Smallest over largest lambda of the path.")
    ] = _DEFAULT.lambda_min_ratio,
    folds: Annotated[int, typer.Option(min=3, help="Folds for lambda.")] = _DEFAULT.folds,
    repeats: Annotated[
        int, typer.Option(min=1, help="Cross-validations; the median lambda is taken.")
    ] = _DEFAULT.repeats,
    rule: Annotated[str, typer.Option(help="Which lambda: min or 1se.")] = _DEFAULT.rule,
    resamples: Annotated[
        int, typer.Option(min=1, help="Bootstrap resamples for the selection frequency.")
    ] = _DEFAULT.resamples,
    cutoff: Annotated[
        str, typer.Option(help="nne or km (time-dependent ROC), logrank, median.")
    ] = _DEFAULT.cutoff,
    cutoff_months: Annotated[float, typer.Option(help="Horizon of that ROC.")] = (
        _DEFAULT.cutoff_months
    ),
    horizons_months: Annotated[str, typer.Option(help="Times of the probabilities.")] = "36,60",
    multivariable: Annotated[
        str, typer.Option(help="Cox table of all covariates, or of the significant ones.")
    ] = _DEFAULT.multivariable,
    bootstrap: Annotated[int, typer.Option(min=2, help="Kept for `evaluate`.")] = (
        _DEFAULT.bootstrap
    ),
    optimism: Annotated[
        int, typer.Option(min=2, help="Resamples in which the whole chain is fitted anew.")
    ] = _DEFAULT.optimism,
    out: Annotated[Path | None, typer.Option(help="Folder. Default: survival_SET.")] = None,
    seed: Seed = 1,
    quiet: Quiet = False,
) -> None:
    """Fit Rad-score, cut-off and Cox models on the development subjects; freeze them.

    Writes model.json, rad_score.json, the LASSO path, the selection, the nomogram (table, JSON,
    SVG, PNG, offline page) and the optimism of the whole chain.

    Example: medpipe survival fit --features-table features.tsv --subjects subjects.tsv
    --covariates age_years:continuous,stage:categorical --nomogram rad_score,stage
    """
    set_up(1, quiet)
    settings = _settings(
        {
            "features": features,
            "time": time,
            "event": event,
            "endpoint": endpoint,
            "labels": _labels(labels),
            "references": _labels(references),
            "covariates": _kinds(covariates),
            "nomogram": tuple(t for t in nomogram.split(",") if t),
            "score_as": score_as,
            "harmonise": harmonise,
            "unseen_centre": unseen_centre,
            "filter": filter,
            "filter_keep": filter_keep,
            "stability": stability,
            "stability_repeat_column": stability_repeat_column,
            "stability_model": stability_model,
            "stability_threshold": stability_threshold,
            "l1_ratio": l1_ratio,
            "lambda_min_ratio": lambda_min_ratio,
            "folds": folds,
            "repeats": repeats,
            "rule": rule,
            "resamples": resamples,
            "cutoff": cutoff,
            "cutoff_months": cutoff_months,
            "horizons_months": tuple(dict.fromkeys(horizons_months.split(","))),
            "multivariable": multivariable,
            "bootstrap": bootstrap,
            "optimism": optimism,
        }
    )
    from pipeline.io import write_json, write_table
    from pipeline.model.survival.chain import fit_survival
    from pipeline.model.survival.chain_optimism import chain_optimism
    from pipeline.model.survival.fit_tables import fit_tables
    from pipeline.provenance import write_sidecars

    design = _design(features_table, subjects, settings)
    options = _options(settings)
    found = fit_survival(design, options, seed=seed)
    corrected = chain_optimism(design, options, found.model, draws=settings.optimism, seed=seed)
    nomogram_found = _nomogram_of(found, design, endpoint)
    folder = out or features_table.resolve().parent / f"survival_{features}"
    asked = settings.model_dump(mode="json")
    tables = fit_tables(found) | {"optimism": corrected}
    for name, table in tables.items():
        write_table(folder / f"{name}.tsv", table)
    write_json(folder / "rad_score.json", found.model.score.to_record())
    drawn = _write_nomogram(folder, nomogram_found, design)
    write_json(folder / "model.json", found.model.to_record() | {"asked": asked})
    write_sidecars(
        [
            *(folder / f"{name}.tsv" for name in tables),
            folder / "rad_score.json",
            folder / "model.json",
            *drawn,
        ],
        block="survival",
        inputs=[features_table, subjects, *filter_files(settings)],
        settings=asked,
        seed=seed,
        measured={"development": int(design.development.sum())},
    )
    chosen = len(found.model.score.features)
    typer.echo(f"{chosen} of {len(design.features)} features: {folder / 'model.json'}")


@app.command()
def evaluate(
    model: Model,
    features_table: FeaturesTable,
    subjects: Subjects,
    bootstrap: Annotated[int, typer.Option(min=2, help="Resamples for intervals.")] = (
        _DEFAULT.bootstrap
    ),
    out: Annotated[Path | None, typer.Option(help="Folder. Default: beside the model.")] = None,
    seed: Seed = 1,
    quiet: Quiet = False,
) -> None:
    """Apply the frozen models to both splits and write every table of the validation.

    Example: medpipe survival evaluate --model model.json --features-table features.tsv
    --subjects subjects.tsv
    """
    set_up(1, quiet)
    from pipeline.io import read_table, write_table
    from pipeline.model.survival.evaluate import evaluate as tables_of
    from pipeline.provenance import write_sidecars

    record = _read_model(model)
    settings = _settings(record["asked"])
    design = _design(features_table, subjects, settings, to_fit=False)
    optimism = model.resolve().with_name("optimism.tsv")
    tables = tables_of(
        _model_of(record, model),
        design,
        settings.covariates,
        rule=settings.multivariable,
        references=settings.references,
        optimism=read_table(optimism) if optimism.exists() else None,
        draws=bootstrap,
        seed=seed,
    )
    tables |= _tables_one(design, settings, tables["predictions"]["risk_group"])
    folder = out or model.resolve().parent
    paths = {name: folder / f"{name}.tsv" for name in tables}
    for name, table in tables.items():
        write_table(paths[name], table)
    write_sidecars(
        list(paths.values()),
        block="survival",
        inputs=[model, features_table, subjects],
        settings={"bootstrap": bootstrap},
        seed=seed,
    )
    typer.echo(f"{paths['headline']}")


@app.command()
def predict(
    model: Model,
    features_table: FeaturesTable,
    subjects: Subjects,
    out: Annotated[
        Path | None, typer.Option(help="Table. Default: FEATURES_survival.tsv beside it.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Apply a frozen model to new patients: Rad-score, risk group, probabilities.

    The sheet needs subject and the covariates; time and event need not be known.

    Example: medpipe survival predict --model model.json --features-table new.tsv
    --subjects new_subjects.tsv
    """
    set_up(1, quiet)
    from pipeline.io import read_table, write_table
    from pipeline.model.survival.new_patients import predict_new
    from pipeline.provenance import write_sidecars

    record = _read_model(model)
    settings = _settings(record["asked"])
    table = predict_new(
        _model_of(record, model),
        read_table(features_table),
        read_table(subjects),
        settings.covariates,
        sources=(str(features_table), str(subjects)),
    )
    target = out or beside(features_table, "_survival.tsv")
    write_table(target, table)
    write_sidecars(
        [target], block="survival", inputs=[model, features_table, subjects], settings={}
    )
    typer.echo(f"{target}")


def _nomogram_of(
    found: "SurvivalFit", design: "SurvivalDesign", endpoint: str
) -> "Nomogram | None":
    from pipeline.model.nomogram import build_nomogram
    from pipeline.model.survival.chain import nomogram_of

    model = nomogram_of(found.model, design, title=endpoint)
    return None if model is None else build_nomogram(model)


def _write_nomogram(folder: Path, found: "Nomogram | None", design: "SurvivalDesign") -> list[Path]:
    """Write table, record, figures and page; without a combined model, a page that says so."""
    from cli.nomogram import write_nomogram
    from pipeline.io import write_text

    if found is None:
        page = folder / "nomogram.html"
        write_text(
            page,
            "<!doctype html><title>No nomogram</title><p>None of the terms of the nomogram is left"
            " (no feature was selected), so there is no combined model to draw.</p>",
        )
        return [page]
    centres = sorted({c for c, d in zip(design.centre, design.development, strict=True) if d})
    return write_nomogram(folder, found, study=", ".join(centres))


def _settings(values: dict[str, Any]) -> SurvivalSettings:
    """Return the checked settings; the flags have the names of the settings."""
    from pydantic import ValidationError

    try:
        return SurvivalSettings.model_validate(values)
    except ValidationError as error:
        lines = [f"{_place(e['loc'])}: {e['msg']}; got {e['input']!r}" for e in error.errors()]
        raise SettingsError("\n".join(dict.fromkeys(lines))) from None


def _place(loc: tuple[int | str, ...]) -> str:
    """Return the flag that an error is about, with the name of the entry where it has one."""
    names = [str(part) for part in loc[1:] if isinstance(part, str)]
    return " ".join([f"--{str(loc[0]).replace('_', '-')}", *names])


def _kinds(text: str) -> dict[str, str]:
    """Return ``age:continuous,stage:categorical`` as a mapping; continuous where not said."""
    found: dict[str, str] = {}
    for part in filter(None, text.split(",")):
        name, _, kind = part.partition(":")
        if not name or name in found:
            raise SettingsError(f"--covariates {part!r}: name each covariate once, as name:kind")
        found[name] = kind or "continuous"
    return found


def _labels(text: str) -> dict[str, str]:
    found = {}
    for part in filter(None, text.split(",")):
        name, _, shown = part.partition(":")
        if not name or not shown:
            raise SettingsError(
                f"--labels {part!r}: give name:text with commas between; a text has no comma"
            )
        found[name] = shown
    return found


def _options(settings: SurvivalSettings) -> "SurvivalOptions":
    from pipeline.model.survival.chain import SurvivalOptions
    from pipeline.model.survival.rad_score import LassoOptions

    return SurvivalOptions(
        covariates=settings.covariates,
        nomogram=settings.nomogram,
        score_as=settings.score_as,
        harmonise=settings.harmonise,
        unseen_centre=settings.unseen_centre,
        lasso=LassoOptions(
            filter=settings.filter,
            filter_keep=settings.filter_keep,
            l1_ratio=settings.l1_ratio,
            lambda_min_ratio=settings.lambda_min_ratio,
            n_folds=settings.folds,
            repeats=settings.repeats,
            rule=settings.rule,
            resamples=settings.resamples,
            stability=read_filter(settings),
        ),
        cutoff=settings.cutoff,
        cutoff_months=settings.cutoff_months,
        horizons_months=settings.horizons_months,
        references=settings.references,
        labels=settings.labels,
    )


def _design(
    features: Path, subjects: Path, settings: SurvivalSettings, *, to_fit: bool = True
) -> "SurvivalDesign":
    from pipeline.io import read_table
    from pipeline.model.survival.design import build_survival_design

    return build_survival_design(
        read_table(features),
        read_table(subjects),
        feature_set=settings.features,
        covariates=settings.covariates,
        time=settings.time,
        event=settings.event,
        to_fit=to_fit,
        sources=(str(features), str(subjects)),
    )


def _read_model(path: Path) -> dict[str, Any]:
    from pipeline.io import read_json

    record: Any = read_json(path)
    if not isinstance(record, dict) or not isinstance(record.get("asked"), dict):
        raise ModelError(f"{path}: no survival model; make one with `medpipe survival fit`")
    return record


def _model_of(record: dict[str, Any], path: Path) -> "SurvivalModel":
    from pipeline.model.survival.chain import SurvivalModel

    try:
        return SurvivalModel.from_record(record)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error


def _tables_one(
    design: "SurvivalDesign", settings: SurvivalSettings, groups: "pd.Series"
) -> dict[str, "pd.DataFrame"]:
    """Return table one by split, and by risk group in each split where both groups occur."""
    import numpy as np

    from pipeline.model.groups import kind_of
    from pipeline.model.table_one import table_one

    kinds: dict[str, Any] = {
        name: "categorical" if kind == "categorical" else kind_of(design.covariates[name])
        for name, kind in settings.covariates.items()
    }
    frame = design.covariates.assign(
        split=np.where(design.development, "development", "test"),
        centre=list(design.centre),
        time_months=design.outcome.months,
        event=design.outcome.event.astype(int).astype(str),
    )
    kinds |= {"time_months": "continuous", "event": "categorical"}
    found = {"table_one": table_one(frame, "split", kinds)}
    frame["risk_group"] = groups.to_numpy()
    for split, rows in frame.groupby("split"):
        if rows["risk_group"].nunique() == 2:
            found[f"table_one_{split}"] = table_one(rows, "risk_group", kinds)
    return found
