"""The rows of the register for texture: stem of the tag, code, name, unit, definition."""

from dataclasses import dataclass

from pipeline.radiomics.ibsi.features import Rows

GLCM: Rows = (
    ("joint_max", "GYBY", "joint maximum", "1", "share of the most frequent pair of levels"),
    ("joint_avg", "60VM", "joint average", "1", "mean level, each voxel once per neighbour"),
    ("joint_var", "UR99", "joint variance", "1", "variance of the level over pairs"),
    ("joint_entr", "TU9B", "joint entropy", "bit", "disorder of the pairs"),
    ("diff_avg", "TF7R", "difference average", "1", "mean difference of neighbours"),
    ("diff_var", "D3YU", "difference variance", "1", "variance of the differences"),
    ("diff_entr", "NTRS", "difference entropy", "bit", "disorder of the differences"),
    ("sum_avg", "ZGXS", "sum average", "1", "mean sum of neighbours"),
    ("sum_var", "OEEB", "sum variance", "1", "variance of the sums"),
    ("sum_entr", "P6QZ", "sum entropy", "bit", "disorder of the sums"),
    ("energy", "8ZQL", "angular second moment", "1", "sum of squared shares of the pairs"),
    ("contrast", "ACUI", "contrast", "1", "mean squared difference of neighbours"),
    ("dissimilarity", "8S9J", "dissimilarity", "1", "mean difference of neighbours"),
    ("inv_diff", "IB1Z", "inverse difference", "1", "mean of 1 / (1 + difference)"),
    ("inv_diff_norm", "NDRX", "normalised inverse difference", "1",
     "the same, the difference over the number of levels"),
    ("inv_diff_mom", "WF0Z", "inverse difference moment", "1", "mean of 1 / (1 + difference^2)"),
    ("inv_diff_mom_norm", "1QCO", "normalised inverse difference moment", "1",
     "the same, the difference over the number of levels"),
    ("inv_var", "E8JP", "inverse variance", "1", "mean inverse squared difference, if unequal"),
    ("corr", "NI2N", "correlation", "1", "linear correlation of neighbours"),
    ("auto_corr", "QWB0", "autocorrelation", "1", "mean product of neighbours"),
    ("clust_tend", "DG8W", "cluster tendency", "1", "second moment of the sum of levels"),
    ("clust_shade", "7NFM", "cluster shade", "1", "third moment of the sum of levels"),
    ("clust_prom", "AE86", "cluster prominence", "1", "fourth moment of the sum of levels"),
    ("info_corr1", "R8DG", "information correlation 1", "1",
     "shared information of neighbours over their entropy, negative"),
    ("info_corr2", "JN9H", "information correlation 2", "1", "shared information, 0 to 1"),
)  # fmt: skip


@dataclass(frozen=True)
class _Words:
    """How a family calls its elements and their second number.

    Attributes
    ----------
    element : str
        What is counted.
    number : str
        Its second number.
    high, low : str
        Large and small values of the number.
    emphasis, level : str
        What is emphasised by the number, and by the grey level.
    measure, percentage, entropy : str
        Of the names of non-uniformity and variance, of percentage, and of entropy.
    """

    element: str
    number: str
    high: str
    low: str
    emphasis: str
    level: str
    measure: str
    percentage: str
    entropy: str


def _rows(codes: str, stems: str, w: _Words) -> Rows:
    """Return the 16 rows of a family whose elements have a level and a second number."""
    each = (
        (f"{w.low} {w.emphasis} emphasis", f"mean inverse squared {w.number} of {w.element}s"),
        (f"{w.high} {w.emphasis} emphasis", f"mean squared {w.number} of {w.element}s"),
        (f"low grey level {w.level} emphasis", f"mean inverse squared level of {w.element}s"),
        (f"high grey level {w.level} emphasis", f"mean squared level of {w.element}s"),
        *(
            (
                f"{size} {w.emphasis} {level} grey level emphasis",
                f"{size} {w.number} together with {level} level",
            )
            for size in (w.low, w.high)
            for level in ("low", "high")
        ),
        ("grey level non-uniformity", f"how unevenly {w.element}s spread over the levels"),
        ("normalised grey level non-uniformity", f"the same, per {w.element}"),
        (f"{w.measure} non-uniformity", f"how unevenly {w.element}s spread over {w.number}"),
        (f"normalised {w.measure} non-uniformity", f"the same, per {w.element}"),
        (f"{w.percentage} percentage", f"{w.element}s per voxel"),
        ("grey level variance", f"variance of the level over {w.element}s"),
        (f"{w.measure} variance", f"variance of {w.number} over {w.element}s"),
        (f"{w.entropy} entropy", f"disorder of level and {w.number}"),
    )
    return tuple(
        (stem, code, name, "bit" if name.endswith("entropy") else "1", definition)
        for stem, code, (name, definition) in zip(stems.split(), codes.split(), each, strict=True)
    )


RUNS: Rows = _rows(
    "22OV W4KF V3SW G3QZ HTZT GD3A IVPO 3KUM R5YN OVBL W92Y IC23 9ZK5 8CE5 SXLW HJ9O",
    "sre lre lgre hgre srlge srhge lrlge lrhge glnu glnu_norm rlnu rlnu_norm r_perc gl_var "
    "rl_var rl_entr",
    _Words("run", "length", "long", "short", "run", "run", "run length", "run", "run"),
)
ZONES: Rows = _rows(
    "5QRC 48P8 XMSY 5GN9 5RAI HW1V YH51 J17V JNSA Y1RO 4JP3 VB3A P30P BYLV 3NSA GU8N",
    "sze lze lgze hgze szlge szhge lzlge lzhge glnu glnu_norm zsnu zsnu_norm z_perc gl_var "
    "zs_var zs_entr",
    _Words("zone", "size", "large", "small", "zone", "zone", "zone size", "zone", "zone size"),
)
DISTANCE: Rows = _rows(
    "0GBI MB4I S1RA K26C RUVG DKNJ A7WM KLTH VFT7 7HP3 V294 IATH VIWW QK93 7WT1 GBDU",
    "sde lde lgze hgze sdlge sdhge ldlge ldhge glnu glnu_norm zdnu zdnu_norm z_perc gl_var "
    "zd_var zd_entr",
    _Words(
        "zone", "distance", "large", "small", "distance", "zone", "zone distance", "zone",
        "zone distance",
    ),
)  # fmt: skip

NGTDM: Rows = (
    ("coarseness", "QCDE", "coarseness", "1", "inverse of the mean difference from the neighbours"),
    ("contrast", "65HE", "contrast", "1",
     "spread of the levels times the difference from the neighbours"),
    ("busyness", "NQ30", "busyness", "1", "rapid changes between a voxel and its neighbours"),
    ("complexity", "HDEZ", "complexity", "1", "many and large changes, unevenly spread"),
    ("strength", "1X9X", "strength", "1", "slow changes of large levels"),
)  # fmt: skip

DEPENDENCE: Rows = (
    *_rows(
        "SODN IMOQ TL9H OAE7 EQ3F JA6D NBZI 9QMG FP8K 5SPA Z87G OKJI 6XV8 1PFV DNX2 FCBV",
        "lde hde lgce hgce ldlge ldhge hdlge hdhge glnu glnu_norm dcnu dcnu_norm dc_perc gl_var "
        "dc_var dc_entr",
        _Words(
            "voxel", "dependence", "high", "low", "dependence", "count", "dependence count",
            "dependence count", "dependence count",
        ),
    ),
    ("dc_energy", "CAS9", "dependence count energy", "1",
     "sum of squared shares of level and dependence"),
)  # fmt: skip
