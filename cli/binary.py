"""`medpipe binary`: a 0/1 outcome from a table: nomogram, boosted trees, and the page on both."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from cli.common import Quiet, Seed, numbers, set_up
from pipeline.errors import ReadError, SettingsError

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.model.binary.design import BinaryDesign
    from pipeline.model.binary.fit import BinaryFit
    from pipeline.model.terms import Kind
    from pipeline.report.binary_results import BinaryResults
    from pipeline.report.card import Card

app = typer.Typer(help="A 0/1 outcome from a table: logistic nomogram against boosted trees.",
                  no_args_is_help=True)  # fmt: skip

_KINDS = ("continuous", "categorical", "spline")

Subjects = Annotated[Path, typer.Option(help="Sheet with subject, split, centre, outcome, ...")]
CardPath = Annotated[
    Path | None, typer.Option(help="Card of the study (JSON). Default: the one of its name.")
]


@app.command()
def fit(
    subjects: Subjects,
    covariates: Annotated[
        str, typer.Option(help="Column:kind,... with kind continuous, categorical or spline.")
    ],
    reference: Annotated[
        str, typer.Option(help="Covariates of the small model that the others are compared with.")
    ],
    outcome: Annotated[str, typer.Option(help="Column of the sheet, 0 or 1.")] = "response",
    folds: Annotated[int, typer.Option(min=2, help="Folds of the cross-validation.")] = 10,
    bootstrap: Annotated[int, typer.Option(min=2, help="Resamples for the intervals.")] = 1000,
    thresholds: Annotated[
        str, typer.Option(help="Threshold probabilities of the headline's net benefit.")
    ] = "0.2,0.4",
    out: Annotated[
        Path | None, typer.Option(help="Folder. Default: binary beside the sheet.")
    ] = None,
    out_table: Annotated[
        Path | None, typer.Option(help="Also write the headline table there.")
    ] = None,
    card: CardPath = None,
    seed: Seed = 1,
    quiet: Quiet = False,
) -> None:
    """Fit on the development rows, score the test rows once, and write every table.

    Example: medpipe binary fit --subjects subjects.tsv --covariates
    subtype:categorical,age_years:continuous,tumour_ml:spline --reference subtype,age_years
    """
    # one thread: sums of the linear algebra then have one order
    set_up(1, quiet)
    from pipeline.io import read_table, write_json, write_table
    from pipeline.model.binary.design import build_binary_design
    from pipeline.model.binary.fit import fit_binary
    from pipeline.provenance import write_sidecars

    asked = {
        "covariates": covariates, "reference": reference, "outcome": outcome, "folds": folds,
        "bootstrap": bootstrap, "thresholds": list(numbers(thresholds, "--thresholds")),
    }  # fmt: skip
    folder = out or subjects.resolve().parent / "binary"
    words = _card(_study_of(folder), card)
    sheet = read_table(subjects)
    design = build_binary_design(
        sheet,
        kinds=_kinds(covariates),
        reference=[name.strip() for name in reference.split(",") if name.strip()],
        outcome=outcome,
        source=str(subjects),
        labels={row.column: row.label for row in words.patients},
    )
    found = fit_binary(design, n_folds=folds, seed=seed)
    tables = _tables(design, found, asked, seed) | _patients(sheet, design, words, seed)
    written = []
    for name, table in tables.items():
        write_table(folder / f"{name}.tsv", table)
        written.append(folder / f"{name}.tsv")
    record = {name: model.to_record() for name, model in found.models.items()}
    write_json(folder / "models.json", {"schema": 1, "kind": "binary_study", "models": record,
                                        "outcome": outcome})  # fmt: skip
    written += [folder / "models.json", *_write_nomogram(folder, design, found, words,
                                                                 tables["headline"])]  # fmt: skip
    if out_table is not None:
        write_table(out_table, tables["headline"])
        written.append(out_table)
    measured = {"trees": found.boosting.rounds, "rows": int(design.labels.size),
                "complete": int(design.complete.sum())}  # fmt: skip
    write_sidecars(written, block="model", inputs=[subjects], settings=asked, seed=seed,
                   measured=measured)  # fmt: skip
    typer.echo(str(folder / "headline.tsv"))


@app.command()
def report(
    study_dir: Annotated[Path, typer.Option(help="Results folder of the study: holds binary/.")],
    subjects: Subjects,
    out: Annotated[
        Path | None, typer.Option(help="Page. Default: report.html in the study's folder.")
    ] = None,
    out_table: Annotated[
        Path | None, typer.Option(help="Also write the headline table there.")
    ] = None,
    card: CardPath = None,
    quiet: Quiet = False,
) -> None:
    """Show who was analysed, what the models reach, and why they decide as they do.

    Example: medpipe binary report --study-dir results/ispy2 --subjects demo/ispy2/subjects.tsv
    """
    set_up(1, quiet)
    from pipeline.io import read_table, write_table, write_text
    from pipeline.provenance import write_sidecars
    from pipeline.report.binary_page import binary_page
    from pipeline.report.page import render_page

    folder = study_dir / "binary"
    if not (folder / "headline.tsv").is_file():
        raise ReadError(
            f"{folder}: no headline.tsv there; run `medpipe binary fit --out {folder}` first"
        )
    name = study_dir.resolve().name
    target = out or study_dir / "report.html"
    results = _read_results(study_dir, subjects, _card(name, card), target)
    write_text(target, render_page(binary_page(results)))
    written = [target]
    if out_table is not None:
        write_table(out_table, read_table(folder / "headline.tsv"))
        written.append(out_table)
    inputs = [subjects, *sorted(folder.glob("*.tsv"))]
    write_sidecars(written, block="report", inputs=inputs, settings={"study": name})
    typer.echo(str(target))


@app.command()
def predict(
    models: Annotated[Path, typer.Option(help="Frozen models (models.json) of `binary fit`.")],
    subjects: Annotated[Path, typer.Option(help="Sheet with subject and the covariates.")],
    out: Annotated[
        Path | None, typer.Option(help="Table. Default: SUBJECTS_scores.tsv beside it.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Apply the frozen models to new subjects; the outcome is not read.

    Example: medpipe binary predict --models binary/models.json --subjects new.tsv
    """
    set_up(1, quiet)
    import pandas as pd

    from cli.common import beside
    from pipeline.io import read_json, read_table, write_table
    from pipeline.model.binary.models import model_from_record
    from pipeline.provenance import write_sidecars

    record: dict[str, Any] = read_json(models)
    if not isinstance(record, dict) or record.get("kind") != "binary_study":
        raise ReadError(f"{models}: no models of a binary study; give models.json of `binary fit`")
    sheet = read_table(subjects)
    if "subject" not in sheet or sheet["subject"].duplicated().any():
        raise ReadError(f"{subjects}: a column subject with one row per subject is needed")
    rows = sheet.sort_values("subject", ignore_index=True).set_index("subject")
    scores = {
        f"score_{name}": model_from_record(found).probability(rows, source=str(subjects))
        for name, found in sorted(record["models"].items())
    }
    target = out or beside(subjects, "_scores.tsv")
    write_table(target, pd.DataFrame({"subject": rows.index.to_numpy(), **scores}))
    write_sidecars([target], block="model", inputs=[models, subjects], settings={})
    typer.echo(str(target))


def _tables(
    design: "BinaryDesign", found: "BinaryFit", asked: Mapping[str, Any], seed: int
) -> dict[str, "pd.DataFrame"]:
    """Return every table of the study by its file's name."""
    from pipeline.model.binary import discrimination, optimism, validation
    from pipeline.model.binary.design import missing_table
    from pipeline.model.binary.headline import headline_table
    from pipeline.model.binary.importance import importance_table, shap_table
    from pipeline.model.binary.models import FrozenLogistic, FrozenTrees
    from pipeline.model.binary.odds import logistic_table

    draws, rows = int(asked["bootstrap"]), found.predictions
    drawn = {"draws": draws, "seed": seed}
    corrected = optimism.optimism_table(
        design,
        found,
        draws=min(draws, optimism.OPTIMISM_DRAWS),
        draws_trees=min(draws, optimism.OPTIMISM_DRAWS_TREES),
        seed=seed,
    )
    tables = {
        "predictions": rows,
        "auc": discrimination.auc_table(rows, optimism=corrected, **drawn),
        "roc": discrimination.roc_table(rows),
        "comparison": discrimination.comparison_table(rows),
        "optimism": corrected,
        "calibration": validation.calibration_table(rows, **drawn),
        "calibration_groups": validation.calibration_group_table(rows),
        "calibration_smooth": validation.calibration_smooth_table(rows),
        "decision": validation.decision_tables(
            rows,
            thresholds=sorted({*validation.THRESHOLDS, *asked["thresholds"]}),
            **drawn,
        ),
        "left_out": missing_table(design),
    }
    logistic = cast(FrozenLogistic, found.models["logistic"])
    trees = cast(FrozenTrees, found.models["xgboost"])
    fitted = design.frame[design.development & design.complete]
    tables["logistic"] = logistic_table(logistic, fitted)
    tables["shap"] = shap_table(trees, design.frame, source=design.source)
    tables["importance"] = importance_table(trees, design.frame, source=design.source, **drawn)
    tables["headline"] = headline_table(
        rows, tables["auc"], tables["calibration"], tables["decision"],
        thresholds=asked["thresholds"], **drawn,
    )  # fmt: skip
    return tables


def _patients(
    sheet: "pd.DataFrame", design: "BinaryDesign", card: "Card", seed: int
) -> dict[str, "pd.DataFrame"]:
    """Return table one by outcome and by split, of the subjects that have an outcome."""
    from pipeline.model.table_one import Kind, skewed, table_one

    kinds: dict[str, Kind] = {
        row.column: row.kind
        for row in card.patients
        if row.column in sheet and row.column != design.outcome
    }
    for name, kind in design.kinds.items():
        kinds.setdefault(name, "categorical" if kind == "categorical" else "continuous")
    rows = sheet[sheet["subject"].astype(str).isin(design.subjects).to_numpy()]
    numeric = [name for name, kind in kinds.items() if kind == "continuous"]
    how: dict[str, Any] = {
        "nonnormal": [name for name in numeric if skewed(rows[name].to_numpy(dtype=float))],
        "seed": seed,
        "source": design.source,
    }
    names = {float(value): text for value, text in card.outcome_names}
    called = rows[design.outcome].map(lambda value: names.get(float(value), str(int(value))))
    grouped = rows.assign(**{design.outcome: called})
    tables = {"table_one": table_one(grouped, design.outcome, kinds, **how)}
    if grouped["split"].nunique() > 1:
        with_outcome = {**kinds, design.outcome: "categorical"}
        tables["table_one_split"] = table_one(grouped, "split", with_outcome, **how)
    return tables


def _write_nomogram(
    folder: Path, design: "BinaryDesign", found: "BinaryFit", card: "Card", headline: "pd.DataFrame"
) -> list[Path]:
    """Write the nomogram of the full logistic model: table, record, figures, offline page."""
    from pipeline.io import write_bytes, write_json, write_table, write_text
    from pipeline.model.binary.models import FrozenLogistic
    from pipeline.model.nomogram import build_nomogram, nomogram_model_of_logistic
    from pipeline.model.terms import design_matrix
    from pipeline.report.nomogram_figure import nomogram_figure
    from pipeline.report.nomogram_page import nomogram_page

    model = cast(FrozenLogistic, found.models["logistic"])
    fitted = design.frame[design.development & design.complete]
    matrix, _ = design_matrix(fitted, model.terms, source=design.source)
    outcome = str(card.outcome_names[0][1])
    nomogram = build_nomogram(
        nomogram_model_of_logistic(model.fit, model.terms, matrix=matrix, title=outcome)
    )
    write_table(folder / "nomogram.tsv", nomogram.table())
    write_json(folder / "nomogram.json", nomogram.to_record())
    for media in ("svg", "png"):
        write_bytes(folder / f"nomogram.{media}", nomogram_figure(nomogram, media=media))
    page = nomogram_page(
        nomogram, title=f"Probability of {outcome}", study=card.title, notes=_validity(headline)
    )
    write_text(folder / "nomogram.html", page)
    return [folder / f"nomogram.{ending}" for ending in ("tsv", "json", "svg", "png", "html")]


def _validity(headline: "pd.DataFrame") -> list[str]:
    """Return how the nomogram's model did, for the page that computes."""
    from pipeline.report.text import interval, number

    row = headline[(headline["model"] == "logistic").to_numpy()].iloc[0]
    where = "test subjects" if row["evaluated_on"] == "test" else "held-out folds"
    size = int(row["n_test"]) or int(row["n_development"])
    return [
        f"On {size} {where}: AUC {number(row['auc'], 2)} (95 % interval"
        f" {interval(row['auc_low95'], row['auc_high95'])}), calibration slope"
        f" {number(row['slope'], 2)} ({interval(row['slope_low95'], row['slope_high95'])}).",
        "A research tool, not a medical device: not for decisions about patients.",
    ]


def _read_results(study_dir: Path, subjects: Path, card: "Card", page: Path) -> "BinaryResults":
    import os

    from pipeline.io import read_json, read_table
    from pipeline.report.binary_results import BinaryResults

    folder = study_dir / "binary"
    origin = folder / "headline.tsv.prov.json"
    record: dict[str, Any] = read_json(origin) if origin.is_file() else {}
    settings = dict(record.get("settings", {}))
    if record.get("seed") is not None:
        settings["seed"] = record["seed"]
    figure, interactive = folder / "nomogram.svg", folder / "nomogram.html"
    dataset = subjects.parent / "dataset.json"
    beside = os.path.relpath(interactive.resolve(), page.resolve().parent)
    return BinaryResults(
        name=study_dir.resolve().name,
        card=card,
        subjects=read_table(subjects),
        tables={path.stem: read_table(path) for path in sorted(folder.glob("*.tsv"))},
        nomogram=figure.read_bytes() if figure.is_file() else b"",
        nomogram_page=Path(beside).parts if interactive.is_file() else (),
        settings=settings,
        versions=record.get("versions", {}),
        measured=record.get("measured", {}),
        dataset=read_json(dataset) if dataset.is_file() else {},
    )


def _kinds(text: str) -> "dict[str, Kind]":
    """Return column -> kind of ``subtype:categorical,age_years:continuous``."""
    found: dict[str, Any] = {}
    for item in text.split(","):
        name, _, kind = item.strip().partition(":")
        if not name or kind not in _KINDS or name in found:
            raise SettingsError(
                f"--covariates {item.strip() or text!r}: give column:kind once per column, kind"
                f" being one of {', '.join(_KINDS)}, e.g. age_years:continuous"
            )
        found[name] = kind
    return found


def _study_of(folder: Path) -> str:
    """Return the study's name: the folder above ``binary``."""
    resolved = folder.resolve()
    return resolved.parent.name if resolved.name == "binary" else resolved.name


def _card(name: str, path: Path | None) -> "Card":
    """Return the card that was asked for, the packaged one of the study, or a bare one."""
    import pipeline.report
    from pipeline.io import read_json
    from pipeline.report.card import Card, parse_card

    packaged = Path(pipeline.report.__file__).parent / "cards" / f"{name}.json"
    if path is None and not packaged.is_file():
        return Card(title=f"Study {name}")
    chosen = path or packaged
    return parse_card(read_json(chosen), source=str(chosen))
