"""`medpipe features-report`: a page that shows what a table of features holds."""

from pathlib import Path
from typing import Annotated

import typer

from cli.common import Quiet, set_up


def features_report(
    features: Annotated[Path, typer.Argument(help="Wide table of `medpipe radiomics`.")],
    out: Annotated[Path | None, typer.Option(help="Page. Default: FEATURES_report.html.")] = None,
    group: Annotated[
        str | None,
        typer.Option(help="Column of groups to compare. Default: centre, site, scanner or group."),
    ] = None,
    threshold: Annotated[
        float, typer.Option(help="Features with |rho| from here on are one cluster.")
    ] = 0.9,
    out_clusters: Annotated[
        Path | None, typer.Option(help="Write feature, cluster, representative here.")
    ] = None,
    title: Annotated[str, typer.Option(help="Heading of the page.")] = "Radiomic features",
    quiet: Quiet = False,
) -> None:
    """Draw a page of a table of features: failures, clusters, distributions, outliers.

    Example: medpipe features-report features.tsv --out features.html --group centre
    """
    set_up(1, quiet)
    import pandas as pd

    from pipeline.io import read_table, write_table, write_text
    from pipeline.provenance import write_sidecars
    from pipeline.report.features_page import features_page
    from pipeline.report.features_summary import summarise_features
    from pipeline.report.page import render_page

    summary = summarise_features(read_table(features), group=group, threshold=threshold)
    target = out or features.with_name(f"{features.stem}_report.html")
    write_text(target, render_page(features_page(summary, title=title)))
    written = [target]
    if out_clusters is not None:
        table = pd.DataFrame({
            "feature": [summary.names[place] for place in summary.clustered],
            "cluster": summary.clusters.cluster,
            "representative": summary.clusters.representative,
        })  # fmt: skip
        write_table(out_clusters, table)
        written.append(out_clusters)
    write_sidecars(
        written,
        block="report",
        inputs=[features],
        settings={"group": summary.group, "threshold": threshold},
        measured={
            "rows": len(summary.table),
            "features": len(summary.features),
            "clusters": len(set(summary.clusters.cluster.tolist())),
        },
    )
    typer.echo(str(target))
