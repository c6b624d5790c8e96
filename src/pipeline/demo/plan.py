"""Who is in the demo cohort: outcome, covariates and effect sizes, drawn once for 61 + 53.

The counts are those of the patient table of Fan et al. 2021 (Front Mol Biosci 8:622219). Smaller
cohorts are the first subjects of each split, and every variable is spread evenly over the order,
so that each prefix resembles the whole and subject 7 is the same person whatever the size.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import stats

from pipeline.demo.protocols import Centre
from pipeline.errors import SettingsError

Split = Literal["development", "test"]

#: Share of a small cohort that goes to the development split: 24 of 40.
_DEVELOPMENT_SHARE = 0.6
#: Mean and SD of the true mean Jacobian in the tumour, by response, and its bounds. The study
#: prints 0.449 and 0.746 as examples; its p value of 4.9e-5 at 44 + 70 is an AUC near 0.73. An SD
#: of 0.13 would give 0.95, so the groups overlap more here: 0.83 at 40 subjects.
MEAN_JACOBIAN = {1: (0.45, 0.19), 0: (0.75, 0.22)}
JACOBIAN_BOUNDS = (0.25, 1.12)
#: Mean and SD of the factor on the transfer constant at follow-up, by response.
UPTAKE_CHANGE = {1: (0.72, 0.15), 0: (0.82, 0.15)}
UPTAKE_BOUNDS = (0.35, 1.15)


@dataclass(frozen=True)
class SplitTable:
    """Counts of one split of the study's patient table.

    Attributes
    ----------
    centre : str
        Scanner.
    miller_payne : {response: {grade: count}}
        Responders have grade 4 or 5.
    subtype : {response: {name: count}}
        The study prints the sums over response; their division is chosen here, with more
        responders among HER2-enriched and basal tumours.
    menopause, family_history : {value: count}
        As printed.
    age : (lowest, mean, highest)
        As printed.
    """

    centre: Centre
    miller_payne: Mapping[int, Mapping[int, int]]
    subtype: Mapping[int, Mapping[str, int]]
    menopause: Mapping[str, int]
    family_history: Mapping[str, int]
    age: tuple[int, int, int]

    @property
    def size(self) -> int:
        """Number of subjects."""
        return sum(self.menopause.values())


TABLES: dict[Split, SplitTable] = {
    "development": SplitTable(
        centre="siemens_3t",
        miller_payne={1: {4: 5, 5: 16}, 0: {1: 6, 2: 10, 3: 24}},
        subtype={
            1: {"luminal_a": 1, "luminal_b": 7, "basal": 5, "her2": 8},
            0: {"luminal_a": 8, "luminal_b": 23, "basal": 4, "her2": 5},
        },
        menopause={"pre": 23, "post": 38},
        family_history={"no": 45, "yes": 16},
        age=(27, 49, 66),
    ),
    "test": SplitTable(
        centre="aurora_1p5t",
        miller_payne={1: {4: 5, 5: 18}, 0: {1: 3, 2: 11, 3: 16}},
        subtype={
            1: {"luminal_a": 0, "luminal_b": 9, "basal": 7, "her2": 7},
            0: {"luminal_a": 3, "luminal_b": 19, "basal": 4, "her2": 4},
        },
        menopause={"pre": 23, "post": 30},
        family_history={"no": 42, "yes": 11},
        age=(29, 47, 79),
    ),
}

FULL_SIZE = sum(table.size for table in TABLES.values())


@dataclass(frozen=True)
class SubjectPlan:
    """One row of subjects.tsv, and what the tumour will do.

    Attributes
    ----------
    subject, split, centre : str
        Id ("001"...), split and scanner.
    response, miller_payne : int
        1 for a responder; grade 1 to 5.
    subtype, menopause, family_history : str
        Levels as in the sheet.
    age_years : int
        Age.
    mean_jacobian, uptake_change : float
        Wanted mean Jacobian of the shrink inside the tumour; factor on its uptake.
    """

    subject: str
    split: Split
    centre: Centre
    response: int
    miller_payne: int
    subtype: str
    age_years: int
    menopause: str
    family_history: str
    mean_jacobian: float
    uptake_change: float


def draw_plan(seed: int, *, size: int = 40) -> list[SubjectPlan]:
    """Return the subjects of a cohort, development first.

    Parameters
    ----------
    seed : int
        Seed of the cohort.
    size : int
        Number of subjects, 2 to 114; 114 has the study's counts exactly.

    Raises
    ------
    SettingsError
        If the size cannot be made.
    """
    if not 2 <= size <= FULL_SIZE:
        raise SettingsError(
            f"--subjects {size}: the demo has 2 to {FULL_SIZE} subjects; give a number in that "
            f"range, or `full` for {FULL_SIZE}"
        )
    first = TABLES["development"].size
    development = max(min(first, round(_DEVELOPMENT_SHARE * size)), 1)
    development = max(development, size - TABLES["test"].size)
    sequences = np.random.SeedSequence(seed, spawn_key=(0,)).spawn(2)
    plans: list[SubjectPlan] = []
    for split, sequence, start, count in zip(
        TABLES, sequences, (1, first + 1), (development, size - development), strict=True
    ):
        plans += _draw_split(split, np.random.default_rng(sequence), start=start)[:count]
    return plans


def _draw_split(split: Split, rng: np.random.Generator, *, start: int) -> list[SubjectPlan]:
    table = TABLES[split]
    counts = {r: sum(table.miller_payne[r].values()) for r in (0, 1)}
    response = spread(counts)
    columns = {
        "response": response,
        "miller_payne": _by_response(response, table.miller_payne, rng),
        "subtype": _by_response(response, table.subtype, rng),
        "family_history": spread(table.family_history, rng),
        "mean_jacobian": _effects(response, MEAN_JACOBIAN, JACOBIAN_BOUNDS, 2, rng),
        "uptake_change": _effects(response, UPTAKE_CHANGE, UPTAKE_BOUNDS, 3, rng),
        **_ages(table, rng),
    }
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(),
                                                                      strict=True)]  # fmt: skip
    return [
        SubjectPlan(subject=f"{start + n:03d}", split=split, centre=table.centre, **row)
        for n, row in enumerate(rows)
    ]


def spread(counts: Mapping[Any, int], rng: np.random.Generator | None = None) -> list[Any]:
    """Return each key as often as counted, spread evenly; with `rng`, shuffled within strata."""
    places = []
    for key, count in counts.items():
        jitter = np.full(count, 0.5) if rng is None else rng.random(count)
        places += [((n + jitter[n]) / count, key) for n in range(count)]
    return [key for _, key in sorted(places, key=lambda pair: pair[0])]


def radical_inverse(index: int, base: int) -> float:
    """Return the van der Corput point of an index: every prefix fills 0..1 evenly."""
    value, scale = 0.0, 1.0 / base
    while index:
        index, digit = divmod(index, base)
        value += digit * scale
        scale /= base
    return value


def _by_response(
    response: Sequence[int], counts: Mapping[int, Mapping[Any, int]], rng: np.random.Generator
) -> list[Any]:
    queues = {r: iter(spread(counts[r], rng)) for r in (0, 1)}
    return [next(queues[r]) for r in response]


def _effects(
    response: Sequence[int],
    moments: Mapping[int, tuple[float, float]],
    bounds: tuple[float, float],
    base: int,
    rng: np.random.Generator,
) -> list[float]:
    """Return beta-distributed values within bounds, evenly spread within each response group."""
    shifts = {r: float(rng.random()) for r in (0, 1)}
    seen = {0: 0, 1: 0}
    values = []
    for r in response:
        seen[r] += 1
        quantile = (radical_inverse(seen[r], base) + shifts[r]) % 1.0
        values.append(_beta_quantile(quantile, *moments[r], bounds))
    return values


def _beta_quantile(
    quantile: float, mean: float, deviation: float, bounds: tuple[float, float]
) -> float:
    low, high = bounds
    centre, spread_ = (mean - low) / (high - low), deviation / (high - low)
    total = centre * (1.0 - centre) / spread_**2 - 1.0
    value = stats.beta.ppf(quantile, centre * total, (1.0 - centre) * total)
    return float(low + (high - low) * value)


def _ages(table: SplitTable, rng: np.random.Generator) -> dict[str, list[Any]]:
    """Return ages over the printed range with the printed mean; the youngest are premenopausal."""
    low, mean, high = table.age
    grid = np.linspace(0.0, 1.0, table.size)
    centre = (mean - low) / (high - low)
    ages = np.round(low + (high - low) * stats.beta.ppf(grid, 5.0 * centre, 5.0 * (1 - centre)))
    # Every eighth age, eight times: each prefix covers the whole range.
    ranks = np.concatenate([rng.permutation(np.arange(s, table.size, 8)) for s in range(8)])
    premenopausal = table.menopause["pre"]
    return {
        "age_years": [int(ages[rank]) for rank in ranks],
        "menopause": ["pre" if rank < premenopausal else "post" for rank in ranks],
    }
