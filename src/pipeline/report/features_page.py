"""The page of a table of features: who failed, which features repeat, how they spread."""

from collections.abc import Callable, Sequence

import numpy as np

from pipeline.report.charts import feature_name, shorten
from pipeline.report.features_figures import FULL_PX, correlation_map, strip_figure
from pipeline.report.features_quality import (
    MOST_ROWS,
    classes_of,
    counts_section,
    failures_section,
    shown_of,
)
from pipeline.report.features_summary import FAR_OUT, FeatureSummary, group_shift
from pipeline.report.page import Fact, Page, Picture, Section, Table
from pipeline.report.text import number, percent, significant

#: Rows of the table of clusters; strips of a figure.
_MOST_CLUSTERS, _MOST_STRIPS = 30, 24


def features_page(summary: FeatureSummary, *, title: str = "Radiomic features") -> Page:
    """Return the page; failed rows and missing values stand first."""
    sections = [make(summary) for make in _MAKERS]
    return Page(
        title=title,
        subtitle="What a table of features holds before anything is modelled on it: missing values,"
        " features that repeat one another, distributions and outliers.",
        facts=_facts(summary),
        sections=[section for section in sections if section is not None],
        footer="No outcome was looked at. Made by medpipe; a research tool, not a medical device.",
    )


def _facts(summary: FeatureSummary) -> list[Fact]:
    rows, columns = summary.values.shape
    missing = np.isnan(summary.values[summary.measured])
    facts = [Fact(f"{rows:,}", "rows")]
    if "subject" in summary.table:
        facts.append(Fact(f"{summary.table['subject'].nunique():,}", "subjects"))
    facts += [
        Fact(f"{int((~summary.measured).sum()):,}", "rows without any feature"),
        Fact(f"{columns:,}", "features"),
        Fact(percent(missing.mean() if missing.size else None, 2), "values missing in the others"),
        Fact(
            f"{len(set(summary.clusters.cluster.tolist())):,}",
            f"clusters at |rho| ≥ {summary.threshold:g}",
        ),
    ]
    return facts


# --- what repeats -----------------------------------------------------------------------------


def _clusters_section(summary: FeatureSummary) -> Section | None:
    if len(summary.clustered) < 2 or int(summary.measured.sum()) < 5:
        return None
    found = summary.clusters
    sizes = np.bincount(found.cluster)[1:]
    alone = int((sizes == 1).sum())
    return Section(
        "Which features repeat one another",
        f"{len(summary.clustered):,} features that vary make {sizes.size:,} clusters in which any"
        f" two correlate with |rho| ≥ {summary.threshold:g}; {alone:,} features stand alone."
        " The feature that resembles its cluster most represents it.",
        pictures=[
            Picture(
                correlation_map(summary),
                "image/png",
                f"Map of the Spearman correlations of {len(summary.clustered)} features,"
                f" {int((sizes > 1).sum())} clusters framed along the diagonal",
                "Complete linkage on 1 - |rho|; pairs with fewer than 5 rows in common count as"
                " unlike. With more features than pixels a point is the mean of its neighbours.",
                FULL_PX,
            )
        ],
        tables=[_cluster_table(summary)] if (sizes > 1).any() else [],
        notes=["The choice of features that goes into a model belongs inside its folds; this map"
               " of all rows is for looking."],
    )  # fmt: skip


def _cluster_table(summary: FeatureSummary) -> Table:
    found = summary.clusters
    sizes = np.bincount(found.cluster)
    numbers = [int(n) for n in np.argsort(-sizes, kind="stable") if sizes[n] > 1]
    rows = []
    for cluster in numbers[:_MOST_CLUSTERS]:
        members = np.flatnonzero(found.cluster == cluster)
        chosen = members[found.representative[members]][0]
        others = [summary.names[summary.clustered[n]] for n in members if n != chosen]
        weakest = float(np.abs(found.rho[np.ix_(members, members)]).min())
        more = f" and {len(others) - 6} more" if len(others) > 6 else ""
        rows.append([
            summary.names[summary.clustered[chosen]],
            str(members.size),
            number(weakest, 3),
            ", ".join(feature_name(name) for name in others[:6]) + more,
        ])  # fmt: skip
    return Table(
        "Clusters and their representatives",
        ["Representative", "Features", "Lowest |rho|", "The others"],
        rows,
        align="lrrl",
        collapsed=len(rows) > 12,
        note=shown_of(len(numbers), "clusters of two and more", _MOST_CLUSTERS),
    )


# --- how they spread --------------------------------------------------------------------------


def _spread_section(summary: FeatureSummary) -> Section | None:
    if not len(summary.clustered):
        return None
    groups = f"; marks are the medians of each {summary.group}" if summary.groups else ""
    return Section(
        "How features spread",
        "Each strip shows how many values lie how far from the feature's median (black bar; line:"
        f" middle half){groups}. The middle of each strip is the median, one step a robust"
        " standard deviation, so that features of any unit can be compared.",
        pictures=[_class_picture(summary, name) for name in classes_of(summary)],
        tables=[table for table in (_shift_table(summary),) if table is not None],
        notes=_group_notes(summary),
    )


def _class_picture(summary: FeatureSummary, feature_class: str) -> Picture:
    own = [n for n, f in enumerate(summary.features) if f.feature_class == feature_class]
    chosen, note = own, f"All {len(own)} features of the class"
    if len(own) > _MOST_STRIPS:
        chosen = sorted(summary.representatives(feature_class)[:_MOST_STRIPS])
        note = (
            f"{len(chosen)} of {len(own)} features of the class: those that represent the largest"
            " clusters"
        )
    return Picture(
        strip_figure(summary, chosen, title=feature_class, note=note),
        "image/svg+xml",
        f"Distributions of {len(chosen)} features of the class {feature_class}",
        "",
        FULL_PX,
    )


def _shift_table(summary: FeatureSummary) -> Table | None:
    shifts = group_shift(summary)[:12]
    if not shifts:
        return None
    rows = [
        [summary.names[n], *(number(medians.get(g), 2) for g in summary.groups),
         number(max(medians.values()) - min(medians.values()), 2)]
        for n, medians in shifts
    ]  # fmt: skip
    return Table(
        f"Features that differ most between the groups of {summary.group}",
        ["Feature", *(shorten(group, 24) for group in summary.groups), "Largest difference"],
        rows,
        note="Median of each group, in robust standard deviations of the whole; groups with fewer"
        " than 3 values are left out.",
    )


def _group_notes(summary: FeatureSummary) -> list[str]:
    if not summary.group:
        return []
    known = summary.table[summary.group].dropna().astype(str)
    shown = int(known.isin(summary.groups).sum())
    everyone = known[known != ""].nunique()
    if everyone == len(summary.groups):
        return []
    return [
        f"Drawn: the {len(summary.groups)} largest of {everyone} groups of {summary.group}, "
        f"{shown} of {len(summary.table)} rows."
    ]


# --- what sticks out --------------------------------------------------------------------------


def _outliers_section(summary: FeatureSummary) -> Section | None:
    scores = np.abs(np.nan_to_num(summary.scores, nan=0.0))
    if not (scores > FAR_OUT).any():
        return None
    share = (scores > FAR_OUT).sum(axis=1) / np.maximum(np.isfinite(summary.values).sum(axis=1), 1)
    order = np.lexsort((-scores.max(axis=1), -share))
    order = order[share[order] > 0]
    rows = []
    for row in order[:MOST_ROWS]:
        worst = int(scores[row].argmax())
        rows.append([
            summary.name_of(int(row)),
            f"{int((scores[row] > FAR_OUT).sum())}",
            percent(share[row], 1),
            summary.names[worst],
            significant(summary.values[row, worst]),
            significant(float(np.nanmedian(summary.values[:, worst]))),
            number(summary.scores[row, worst], 1),
        ])  # fmt: skip
    table = Table(
        "Rows with the most values far out",
        [
            "Row",
            "Features far out",
            "Share",
            "Furthest feature",
            "Value",
            "Median of all",
            "Robust z",
        ],
        rows,
        align="lrrlrrr",
        note=shown_of(len(order), "rows"),
    )
    return Section(
        "What sticks out",
        f"Far out: more than {FAR_OUT:g} robust standard deviations from the median. Features with"
        " a long tail (energy, volumes, cluster prominence) have such values in sound data too; a"
        " row that is far out in many features is worth a look at its image and mask.",
        tables=[table],
    )


_MAKERS: Sequence[Callable[[FeatureSummary], Section | None]] = (
    failures_section,
    counts_section,
    _clusters_section,
    _spread_section,
    _outliers_section,
)
