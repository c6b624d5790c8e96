"""Segmentation networks side by side: the tables of two papers, from summaries of evaluations."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import pandas as pd

Layout = Literal["psnet", "lungtumor"]

#: Column of the table -> measure of summary.tsv, over what, which statistic.
_PSNET = {
    "dsc_percent_mean": ("dice_3d", "cases", "mean"),
    "dsc_percent_sd": ("dice_3d", "cases", "sd"),
    "rvd_percent_mean": ("rvd_percent", "cases", "mean"),
    "rvd_percent_sd": ("rvd_percent", "cases", "sd"),
    "hd_mm_mean": ("hausdorff_mm", "cases", "mean"),
    "hd_mm_sd": ("hausdorff_mm", "cases", "sd"),
    "asd_mm_mean": ("asd_mm", "cases", "mean"),
    "asd_mm_sd": ("asd_mm", "cases", "sd"),
    "n_distances": ("hausdorff_mm", "cases", "n"),
}
_LUNGTUMOR = {
    "dice_3d_mean": ("dice_3d", "cases", "mean"),
    "dice_3d_q1": ("dice_3d", "cases", "q1"),
    "dice_3d_median": ("dice_3d", "cases", "median"),
    "dice_3d_median_low": ("dice_3d", "cases", "median_low"),
    "dice_3d_median_high": ("dice_3d", "cases", "median_high"),
    "dice_3d_q3": ("dice_3d", "cases", "q3"),
    "n_slices": ("dice_2d", "slices", "n"),
    "dice_2d_mean": ("dice_2d", "slices", "mean"),
    "dice_2d_q1": ("dice_2d", "slices", "q1"),
    "dice_2d_median": ("dice_2d", "slices", "median"),
    "dice_2d_q3": ("dice_2d", "slices", "q3"),
    "tp_slices": ("tp_dice_2d", "slices", "n"),
    "tp_dice_2d_mean": ("tp_dice_2d", "slices", "mean"),
    "tp_msd_mm_mean": ("tp_msd_2d_mm", "slices", "mean"),
    "tp_hd95_mm_mean": ("tp_hd95_2d_mm", "slices", "mean"),
    "fn_slices": ("fn_slices", "cases", "total"),
    "fp_slices": ("fp_slices", "cases", "total"),
}
_COLUMNS = {"psnet": _PSNET, "lungtumor": _LUNGTUMOR}
_COUNTS = ("n", "n_distances", "n_slices", "tp_slices", "fn_slices", "fp_slices")


@dataclass(frozen=True, eq=False)
class Compared:
    """One row of a comparison.

    Attributes
    ----------
    scheme : str
        "folds" or "test": which cases were held out.
    name, title : str
        In paths, and for readers.
    weights : str
        What training began from.
    summary : DataFrame
        As `summary.summary_table` of the held-out cases.
    """

    scheme: str
    name: str
    title: str
    weights: str
    summary: "pd.DataFrame"


def comparison_table(rows: Sequence[Compared], layout: Layout) -> "pd.DataFrame":
    """Return the headline table: a row per scheme, network and structure.

    Parameters
    ----------
    rows : sequence of Compared
        In the order of the table.
    layout : {"psnet", "lungtumor"}
        "psnet": mean and SD over the cases of DSC (%), RVD (%), HD and ASD (mm), as table 1 of
        Tian et al. 2018. "lungtumor": Dice over the cases and over the slices with quartiles,
        the three means over true positive slices, counts of slices missed and too many, as the
        tables of Lin et al.; besides them the 95 % interval of the median.

    Notes
    -----
    `n` counts the cases with a Dice; `n_distances` those with distances, which are undefined
    where a mask is empty.
    """
    import pandas as pd

    found = [
        {
            "scheme": row.scheme,
            "method": row.name,
            "title": row.title,
            "weights": row.weights,
            "structure": structure,
            "n": _value(part, "dice_3d", "cases", "n"),
            **{column: _scaled(part, column, *key) for column, key in _COLUMNS[layout].items()},
        }
        for row in rows
        for structure, part in row.summary.groupby("structure", sort=False)
    ]
    frame = pd.DataFrame(found)
    return frame.astype({name: "Int64" for name in _COUNTS if name in frame})


def _scaled(summary: "pd.DataFrame", column: str, measure: str, over: str, which: str) -> Any:
    value = _value(summary, measure, over, which)
    return 100.0 * value if column.startswith("dsc_percent") else value


def _value(summary: "pd.DataFrame", measure: str, over: str, which: str) -> Any:
    chosen = summary[(summary["measure"] == measure) & (summary["over"] == over)]
    return chosen[which].iloc[0]
