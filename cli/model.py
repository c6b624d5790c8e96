"""`medpipe model`: fit on development subjects, compare on test subjects, predict new ones."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from cli.common import Quiet, Seed, beside, set_up
from cli.stability_options import (
    AgreementModel,
    RepeatColumn,
    Stability,
    Threshold,
    filter_files,
    read_filter,
)
from pipeline.config import StabilitySettings
from pipeline.errors import ModelError, SettingsError

app = typer.Typer(help="Fit, compare and apply models.", no_args_is_help=True)

_DEFAULT = StabilitySettings()

Features = Annotated[Path, typer.Option(help="Table with a row per subject, columns set.feature.")]


@app.command()
def fit(
    features: Features,
    subjects: Annotated[Path, typer.Option(help="Sheet with subject, split, outcome, subtype.")],
    feature_set: Annotated[
        str, typer.Option(help="baseline, followup, jacobian, deltarad, or fusion of the four.")
    ] = "fusion",
    with_subtype: Annotated[
        bool, typer.Option("--with-subtype", help="Append the molecular subtype after selection.")
    ] = False,
    outcome: Annotated[str, typer.Option(help="Column of the sheet, 0 or 1.")] = "response",
    classifier: Annotated[
        Literal["svm", "xgboost"],
        typer.Option(help="svm: SVM-RFE and a Gaussian SVM. xgboost: boosted trees, same folds."),
    ] = "svm",
    selection: Annotated[
        Literal["nested", "paper"],
        typer.Option(help="Rank features inside each fold, or once on all development subjects."),
    ] = "nested",
    folds: Annotated[int, typer.Option(min=2, help="Folds of the cross-validation.")] = 10,
    c_log2: Annotated[str, typer.Option(help="Costs: first,last,step as powers of 2.")] = (
        "-5,10,1"
    ),
    gamma_log2: Annotated[str, typer.Option(help="Gammas: first,last,step as powers of 2.")] = (
        "-12,3,1"
    ),
    max_features: Annotated[int, typer.Option(min=1, help="Most image features.")] = 30,
    stability: Stability = _DEFAULT.stability,
    stability_repeat_column: RepeatColumn = _DEFAULT.stability_repeat_column,
    stability_model: AgreementModel = _DEFAULT.stability_model,
    stability_threshold: Threshold = _DEFAULT.stability_threshold,
    out: Annotated[
        Path | None, typer.Option(help="Folder. Default: model_SET beside the table.")
    ] = None,
    seed: Seed = 1,
    quiet: Quiet = False,
) -> None:
    """Select features and fit a model on the development subjects; score the test subjects once.

    Writes predictions.tsv, model.json (frozen), selection.tsv and cv.tsv.

    Example: medpipe model fit --features features.tsv --subjects subjects.tsv --out model/fusion
    """
    # one thread: sums of the linear algebra then have one order
    set_up(1, quiet)
    from pipeline.io import read_table, write_json, write_table
    from pipeline.model.chain import fit_chain
    from pipeline.model.design import build_design
    from pipeline.model.svm_grid import SvmGrid
    from pipeline.provenance import write_sidecars

    grid = SvmGrid(_span(c_log2, "--c-log2"), _span(gamma_log2, "--gamma-log2"), max_features)
    design = build_design(
        read_table(features),
        read_table(subjects),
        feature_set=feature_set,
        with_subtype=with_subtype,
        outcome=outcome,
        sources=(str(features), str(subjects)),
    )
    stable = StabilitySettings(
        stability=stability,
        stability_repeat_column=stability_repeat_column,
        stability_model=stability_model,
        stability_threshold=stability_threshold,
    )
    tables = fit_chain(
        design,
        classifier=classifier,
        selection=selection,
        n_folds=folds,
        seed=seed,
        grid=grid,
        stability=read_filter(stable),
    )
    name = feature_set + ("_subtype" if with_subtype else "")
    folder = out or features.resolve().parent / f"model_{name}"
    asked = {"feature_set": feature_set, "with_subtype": with_subtype, "outcome": outcome}
    write_table(folder / "predictions.tsv", tables.predictions)
    write_table(folder / "selection.tsv", tables.selection)
    write_table(folder / "cv.tsv", tables.curve)
    write_json(folder / "model.json", tables.record | asked)
    write_sidecars(
        [folder / n for n in ("predictions.tsv", "selection.tsv", "cv.tsv", "model.json")],
        block="model",
        inputs=[features, subjects, *filter_files(stable)],
        settings=asked
        | {"classifier": classifier, "selection": selection, "folds": folds}
        | stable.model_dump()
        | {"c_log2": c_log2, "gamma_log2": gamma_log2, "max_features": max_features},
        seed=seed,
        measured=tables.record["training"],
    )
    typer.echo(f"{folder / 'predictions.tsv'}")


@app.command()
def compare(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="PREDICTIONS...", help="predictions.tsv of each model; its folder is its name."
        ),
    ] = None,
    predictions: Annotated[
        list[Path] | None, typer.Option(help="The same, one per flag, before the arguments.")
    ] = None,
    reference: Annotated[
        str, typer.Option(help="Model that the others are compared with.")
    ] = "fusion_subtype",
    bootstrap: Annotated[int, typer.Option(min=2, help="Bootstrap resamples.")] = 2000,
    out: Annotated[
        Path | None, typer.Option(help="Table. Default: auc.tsv above the models.")
    ] = None,
    seed: Seed = 1,
    quiet: Quiet = False,
) -> None:
    """Table of test AUCs with intervals, p against the reference, and both Youden thresholds.

    Example: medpipe model compare model/*/predictions.tsv --reference fusion
    """
    set_up(1, quiet)
    from pipeline.io import read_table, write_table
    from pipeline.model.comparison import compare_models
    from pipeline.provenance import write_sidecars

    files = [*(predictions or []), *(paths or [])]
    if not files:
        raise ModelError("no predictions are named; give the predictions.tsv of each model")
    names = [path.resolve().parent.name for path in files]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ModelError(f"two models share the folder name {twice}; rename one folder")
    table = compare_models(
        {name: read_table(path) for name, path in zip(names, files, strict=True)},
        reference=reference,
        draws=bootstrap,
        seed=seed,
    )
    target = out or files[0].resolve().parent.parent / "auc.tsv"
    write_table(target, table)
    write_sidecars(
        [target],
        block="model",
        inputs=files,
        settings={"models": names, "reference": reference, "bootstrap": bootstrap},
        seed=seed,
    )
    typer.echo(f"{target}")


@app.command()
def predict(
    model: Annotated[Path, typer.Option(help="Frozen model (model.json).")],
    features: Features,
    subjects: Annotated[
        Path | None, typer.Option(help="Sheet with the subtype, for a model that uses it.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Table. Default: FEATURES_scores.tsv beside it.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Apply a frozen model to new subjects.

    Example: medpipe model predict --model fusion/model.json --features features.tsv
    """
    set_up(1, quiet)
    from pipeline.io import read_json, read_table, write_table
    from pipeline.model.chain import score_table
    from pipeline.provenance import write_sidecars

    record: dict[str, Any] = read_json(model)
    scores = score_table(
        record,
        read_table(features),
        read_table(subjects) if subjects else None,
        sources=(str(features), str(subjects)),
    )
    target = out or beside(features, "_scores.tsv")
    write_table(target, scores)
    inputs = [model, features] + ([subjects] if subjects else [])
    write_sidecars([target], block="model", inputs=inputs, settings={})
    typer.echo(f"{target}")


def _span(text: str, flag: str) -> tuple[float, float, float]:
    try:
        first, last, step = (float(part) for part in text.split(","))
    except ValueError as error:
        raise SettingsError(
            f"{flag} = {text!r}: three numbers first,last,step are needed, such as -5,10,1"
        ) from error
    return first, last, step
