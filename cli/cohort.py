"""`medpipe cohort`: the features of all subjects in one table."""

from pathlib import Path
from typing import Annotated

import typer

from cli.common import Quiet, Threads, progress, set_up

_SETS = ["baseline=baseline/dce", "followup=followup/dce", "jacobian=followup/jacobian"]
_DELTAS = ["deltarad=baseline-followup"]
_MAY_VANISH = ["followup"]


def cohort(
    root: Annotated[Path, typer.Argument(help="Results folder of the study, results/STUDY.")],
    included: Annotated[
        Path | None, typer.Option(help="Who is in. Default: ROOT/cohort/included.tsv.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Table. Default: ROOT/cohort/features.tsv.")
    ] = None,
    out_failures: Annotated[
        Path | None, typer.Option(help="Who cannot be modelled. Default: failures.tsv beside.")
    ] = None,
    out_dictionary: Annotated[
        Path | None, typer.Option(help="What columns mean. Default: dictionary.tsv beside.")
    ] = None,
    feature_set: Annotated[
        list[str], typer.Option("--set", help="NAME=SESSION/TABLE, in the order of columns.")
    ] = _SETS,
    delta: Annotated[
        list[str] | None,
        typer.Option(help="NAME=FIRST-SECOND: (first - second) / first. Default: of nact's sets."),
    ] = None,
    may_vanish: Annotated[
        list[str] | None,
        typer.Option(help="Sets whose region may be empty: the subject stays. Default: of nact."),
    ] = None,
    classes: Annotated[
        str,
        typer.Option(help="Feature classes to join; ngtdm is the seventh. all: what tables have."),
    ] = "shape,firstorder,glcm,glrlm,glszm,gldm",
    threads: Threads = 1,
    quiet: Quiet = False,
) -> None:
    """Join the feature tables of all included subjects, and compute the changes between visits.

    A subject whose region cannot be measured is listed in failures.tsv with the reason.

    Example: medpipe cohort results/nact
    """
    set_up(threads, quiet)
    from pipeline.cohort import (
        feature_dictionary,
        join_features,
        joined_columns,
        parse_delta_set,
        parse_feature_set,
    )
    from pipeline.io import read_table, write_table
    from pipeline.layout import cohort_file, feature_table
    from pipeline.provenance import write_sidecars

    # The defaults belong together: with sets of one's own, there is no change unless asked for.
    nact = feature_set == _SETS
    delta = delta if delta is not None else _DELTAS if nact else []
    may_vanish = may_vanish if may_vanish is not None else _MAY_VANISH if nact else []
    sets = [parse_feature_set(text) for text in feature_set]
    deltas = [parse_delta_set(text) for text in delta]
    listed = included or cohort_file(root, "included.tsv")
    subjects = sorted(str(s) for s in read_table(listed)["subject"])
    places = {
        (item.name, subject): feature_table(root, subject, item.session, item.table)
        for subject in subjects
        for item in sets
    }
    present = {key: path for key, path in places.items() if path.is_file()}
    tables = {
        key: read_table(path)
        for key, path in progress(present.items(), total=len(present), what="tables")
    }
    features, failures = join_features(
        subjects,
        tables,
        sets=sets,
        deltas=deltas,
        may_vanish=may_vanish,
        classes=classes.split(","),
    )
    target = out or cohort_file(root, "features.tsv")
    beside = {
        out_failures or target.with_name("failures.tsv"): failures,
        out_dictionary or target.with_name("dictionary.tsv"): feature_dictionary(
            sets, deltas, joined_columns(tables, classes.split(","))
        ),
    }
    write_table(target, features)
    for path, table in beside.items():
        write_table(path, table)
    write_sidecars(
        [target, *beside],
        block="cohort",
        inputs=[listed, *present.values()],
        settings={"sets": feature_set, "deltas": delta, "may_vanish": may_vanish}
        | {"classes": classes.split(",")},
        measured={"subjects": len(subjects), "rows": len(features), "failures": len(failures)},
    )
    typer.echo(f"{len(features)} subjects, {len(failures)} left out: {target}")
