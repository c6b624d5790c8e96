"""Table one against the card, R 4.2, hand-worked tables; and its verb."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from cli.table_one import table_one as verb
from pipeline.errors import CohortError, MedpipeError, ModelError, SettingsError
from pipeline.io import read_table, write_table
from pipeline.model import groups
from pipeline.model.effect_size import smd_counts, smd_means
from pipeline.model.groups import t_from_summary
from pipeline.model.table_one import skewed, table_one

GOLDEN = Path(__file__).parents[2] / "golden"

#: The card's counts: variable -> levels, then (low risk, high risk) of primary and validation.
CARD = {
    "sex": (("female", "male"), [(46, 27), (61, 108)], [(19, 16), (40, 64)]),
    "grade": (
        ("high", "moderate", "low"),
        [(18, 50, 4), (45, 82, 17)],
        [(10, 19, 6), (27, 46, 26)],
    ),
    "tnm": (
        ("I", "II", "III", "IV"),
        [(9, 23, 32, 9), (8, 68, 54, 39)],
        [(9, 14, 10, 2), (7, 33, 34, 28)],
    ),
    "cea": (("low", "high"), [(52, 21), (110, 59)], [(27, 7), (59, 44)]),
    "nodes": (("no", "yes"), [(34, 39), (82, 87)], [(23, 12), (48, 56)]),
}
#: Rows per risk group: grade, TNM and CEA have fewer, the rest is missing.
SIZES = [(73, 169), (35, 104)]

#: p values that the counts of the card give, recomputed there to the printed digits.
CARD_P = {
    "sex": ("0.0002", "0.150"),
    "grade": ("0.150", "0.537"),
    "tnm": ("0.017", "0.003"),
    "cea": ("0.433", "0.035"),
    "nodes": ("0.890", "0.071"),
}


def _card_rows(variable: str, cohort: int) -> pd.DataFrame:
    levels, *cohorts = CARD[variable]
    parts = []
    for risk, counts, size in zip(("low", "high"), cohorts[cohort], SIZES[cohort], strict=True):
        cells = [*np.repeat(levels, counts), *[None] * (size - sum(counts))]
        parts.append(pd.DataFrame({"risk": risk, variable: cells}))
    return pd.concat(parts)


@pytest.mark.parametrize("cohort", [0, 1], ids=["primary", "validation"])
@pytest.mark.parametrize("variable", CARD)
def test_p_values_of_the_card(variable, cohort):
    table = table_one(
        _card_rows(variable, cohort), "risk", {variable: "categorical"}, counts_test="chi-square"
    )
    row = table[table.variable == variable].iloc[0]
    printed = CARD_P[variable][cohort]
    digits = len(printed.split(".")[1])
    assert f"{row.p:.{digits}f}" == printed
    two_by_two = len(CARD[variable][0]) == 2
    assert row.p_test == ("chi-square (Yates)" if two_by_two else "chi-square")
    known = sum(sum(c) for c in CARD[variable][1 + cohort])
    assert row.n == known
    missing = table[(table.variable == variable) & (table.level == "missing")]
    lost = sum(SIZES[cohort]) - known
    assert [text.split()[0] for text in missing["all"]] == ([str(lost)] if lost else [])


def test_t_tests_of_the_card():
    assert t_from_summary((73, 71.6, 13.2), (169, 68.8, 14.8)).p == pytest.approx(0.165, abs=5e-4)
    assert t_from_summary((35, 65.3, 14.8), (104, 64.0, 12.6)).p == pytest.approx(0.615, abs=5e-4)
    rng = np.random.default_rng(0)
    one, two = rng.normal(0, 1, 20), rng.normal(0.5, 2, 31)
    parts = [(s.size, s.mean(), s.std(ddof=1)) for s in (one, two)]
    assert t_from_summary(*parts).p == pytest.approx(groups.student(one, two).p, rel=1e-12)
    assert t_from_summary(*parts, equal_variances=False).p == pytest.approx(
        groups.welch(one, two).p, rel=1e-12
    )
    with pytest.raises(ModelError, match="a group of 1 with mean 3 and sd 0"):
        t_from_summary((1, 3.0, 0.0), (5, 1.0, 1.0))


# --- R -------------------------------------------------------------------------------------

OPTIONS = {
    "equal": {"means_test": "equal"},
    "welch": {"means_test": "welch"},
    "chi-square": {"counts_test": "chi-square"},
    "fisher": {"counts_test": "fisher"},
}
KINDS = {
    "age": "continuous",
    "size": "continuous",
    "stage": "categorical",
    "marker": "categorical",
    "grade": "ordinal",
}


def _golden() -> list[tuple[str, str, str, float, float]]:
    table = pd.read_csv(GOLDEN / "table_one_tests.tsv", sep="\t")
    return list(table.itertuples(index=False, name=None))


@pytest.mark.parametrize(("group", "variable", "test", "p", "smd"), _golden())
def test_equal_to_r(group, variable, test, p, smd):
    rows = pd.read_csv(GOLDEN / "table_one_rows.tsv", sep="\t")
    ranks = [variable] if test == "ranks" and KINDS[variable] == "continuous" else []
    options = OPTIONS.get(test, {"nonnormal": ranks})
    table = table_one(rows, group, {variable: KINDS[variable]}, **options)
    found = table[table.variable == variable].iloc[0]
    assert found.p == pytest.approx(p, abs=1e-10)
    assert found.smd == pytest.approx(smd, rel=1e-10)
    assert found.n == rows[variable].notna().sum()


def test_the_name_of_the_test_is_that_of_the_test():
    rows = pd.read_csv(GOLDEN / "table_one_rows.tsv", sep="\t")

    def names(group: str, **options: object) -> list[str]:
        table = table_one(rows, group, KINDS, sizes=False, **options)
        return table.p_test[table.p_test != ""].tolist()

    assert names("sex") == [
        "t test", "t test", "Fisher-Freeman-Halton", "Fisher", "Wilcoxon rank-sum",
    ]  # fmt: skip
    assert names("centre", nonnormal=["size"]) == [
        "ANOVA", "Kruskal-Wallis", "Fisher-Freeman-Halton", "Fisher-Freeman-Halton",
        "Kruskal-Wallis",
    ]  # fmt: skip
    assert names("sex", counts_test="chi-square")[2:4] == ["chi-square", "chi-square (Yates)"]
    assert names("sex", means_test="welch")[0] == "Welch t"
    assert names("centre", means_test="welch")[0] == "Welch ANOVA"


# --- differences by hand -------------------------------------------------------------------


def test_differences_by_hand():
    # means 2 and 4, variances 1 and 4: 2 / sqrt(2.5)
    assert smd_means([[1, 2, 3], [2, 4, 6, np.nan]]) == pytest.approx(2 / np.sqrt(2.5))
    # 3 groups: pairs 1, 1 and 2 with variances 1
    assert smd_means([[0, 1, 2], [1, 2, 3], [2, 3, 4]]) == pytest.approx(4 / 3)
    # proportions 0.4 and 0.6
    assert smd_counts([[4, 6], [6, 4]]) == pytest.approx(0.2 / np.sqrt(0.24))
    # three levels, S inverted by hand: p = (0.5, 0.3), q = (0.2, 0.3)
    s = (np.array([[0.25, -0.15], [-0.15, 0.21]]) + np.array([[0.16, -0.06], [-0.06, 0.21]])) / 2
    gap = np.array([0.3, 0.0])
    expected = np.sqrt(gap @ np.linalg.inv(s) @ gap)
    assert smd_counts([[2, 5], [5, 2], [3, 3]]) == pytest.approx(expected)
    # the reference level does not matter, nor a level that nobody has
    assert smd_counts([[3, 3], [0, 0], [2, 5], [5, 2]]) == pytest.approx(expected)


def test_differences_that_have_no_number():
    assert smd_counts([[5, 0], [0, 7]]) == np.inf
    assert smd_counts([[5, 7]]) == 0
    assert np.isnan(smd_counts([[5, 0], [3, 0]]))
    assert np.isnan(smd_counts([[5], [3]]))
    assert smd_means([[1, 1], [1, 1]]) == 0
    assert smd_means([[1, 1], [2, 2]]) == np.inf
    assert np.isnan(smd_means([[1], [2, 2]]))
    with pytest.raises(ModelError, match="levels by groups"):
        smd_counts([[-1, 2]])


# --- the table -----------------------------------------------------------------------------


@pytest.fixture
def frame() -> pd.DataFrame:
    mp_grades = [[6, 10, 24, 5, 16], [3, 11, 16, 5, 18]]
    frame = pd.DataFrame(
        {
            "split": ["development"] * 61 + ["test"] * 53,
            "menopause": ["pre"] * 23 + ["post"] * 38 + ["pre"] * 23 + ["post"] * 30,
            "miller_payne": np.repeat([1, 2, 3, 4, 5] * 2, mp_grades[0] + mp_grades[1]),
            "age_years": np.r_[np.linspace(27, 66, 61), np.linspace(29, 79, 53)],
        }
    )
    frame.loc[3, "age_years"] = np.nan
    return frame


def test_table_one_has_the_published_counts(frame):
    names = ["age_years", "menopause", "miller_payne"]
    table = table_one(frame, "split", names, spread="range")
    assert table.columns.tolist() == [
        "variable", "level", "all", "development", "test", "p", "p_test", "smd", "n",
    ]  # fmt: skip
    assert table.iloc[0].tolist()[:5] == ["subjects", "n", "114", "61", "53"]
    ages = table[table.variable == "age_years"]
    assert ages.level.tolist() == ["mean (min to max)", "missing"]
    assert ages.test.iloc[0] == "54.0 (29 to 79)"
    assert ages[["all", "development", "test"]].iloc[1].tolist() == [
        "1 (1 %)",
        "1 (2 %)",
        "0 (0 %)",
    ]
    assert ages.n.iloc[0] == 113
    grades = table[table.variable == "miller_payne"]
    assert grades.level.tolist() == ["1", "2", "3", "4", "5"]
    assert [int(t.split()[0]) for t in grades["all"]] == [9, 21, 40, 10, 34]
    assert grades.p.iloc[0] == pytest.approx(0.706, abs=0.0005)
    assert grades.p.iloc[1:].isna().all()
    assert grades.p_test.tolist() == ["Fisher-Freeman-Halton", "", "", "", ""]
    assert table_one(frame, "split", names, sizes=False).variable.iloc[0] == "age_years"


def test_cells_of_numbers_by_hand():
    frame = pd.DataFrame(
        {
            "arm": ["a"] * 4 + ["b"] * 5,
            "x": [1.0, 2, 3, 4, 10, 20, 30, 40, np.inf],
            "tiny": [0.001, 0.002, 0.003, 0.004, 0.01, 0.02, 0.03, 0.04, np.nan],
        }
    )
    table = table_one(frame, "arm", ["x", "tiny"], nonnormal=["tiny"], sizes=False)
    # the spread of x is 13.2: one decimal; infinite counts as missing
    assert table.a.tolist()[:2] == ["2.5 (1.3)", "0 (0 %)"]
    assert table.b.tolist()[:2] == ["25.0 (12.9)", "1 (20 %)"]
    assert table.level.tolist() == ["mean (SD)", "missing", "median (Q1 to Q3)", "missing"]
    assert table.b[2] == "0.0250 (0.0175 to 0.0325)"
    # percentages of levels are of the known values, those of missing ones of all
    answers = pd.DataFrame({"g": ["a", "a", "a", "b"], "v": ["yes", "no", None, "yes"]})
    shares = table_one(answers, "g", ["v"], sizes=False)
    assert shares.a.tolist() == ["1 (50 %)", "1 (50 %)", "1 (33 %)"]
    assert shares.b.tolist() == ["0 (0 %)", "1 (100 %)", "0 (0 %)"]


def test_levels_are_in_order_and_missing_is_said():
    frame = pd.DataFrame(
        {
            "g": ["a", "b"] * 4,
            "size": [10.0, 2, 1, np.nan, 10, 2, 1, 1],
            "kind": pd.Categorical(
                ["mid", "low", "high", "low"] * 2, categories=["low", "mid", "high", "top"]
            ),
            "empty": [np.nan] * 8,
            "flag": [True, False] * 4,
        }
    )
    table = table_one(
        frame, "g", {"size": "categorical", "kind": "ordinal", "empty": "categorical",
                     "flag": None},
    )  # fmt: skip
    assert table[table.variable == "size"].level.tolist() == ["1", "2", "10", "missing"]
    assert table[table.variable == "kind"].level.tolist() == ["low", "mid", "high"]
    empty = table[table.variable == "empty"]
    assert empty.level.tolist() == ["", "missing"]
    assert empty.p_test.iloc[0] == "none: no known value"
    assert empty.n.iloc[0] == 0
    assert empty["all"].iloc[1] == "8 (100 %)"
    assert table[table.variable == "flag"].level.tolist() == ["False", "True"]
    assert not table.drop(columns=["p", "smd", "n"]).isna().any().any()


def test_an_all_missing_number_and_one_group_have_no_p(frame):
    table = table_one(frame.assign(x=np.nan), "split", {"x": "continuous"}, sizes=False)
    assert table.level.tolist() == ["mean (SD)", "missing"]
    assert table.p_test.iloc[0] == "none: too few or equal values"
    alone = table_one(frame[:61], "split", ["age_years", "menopause"], sizes=False)
    assert alone.p.isna().all()
    assert alone.smd.isna().all()
    assert alone.p_test[alone.p_test != ""].tolist() == ["none: one group"] * 2


def test_the_order_of_the_rows_does_not_matter(frame):
    mixed = frame.sample(frac=1, random_state=3)
    names = ["age_years", "menopause", "miller_payne"]
    first, second = (table_one(f, "split", names) for f in (frame, mixed))
    pd.testing.assert_frame_equal(first, second, rtol=1e-12)


def test_rows_without_a_group_are_left_out_and_told(frame, caplog):
    frame.loc[0:4, "split"] = None
    with caplog.at_level(logging.WARNING):
        table = table_one(frame, "split", ["menopause"], source="s.tsv")
    assert "s.tsv: column split is empty in 5 rows" in caplog.text
    assert table["all"].iloc[0] == "109"
    with pytest.raises(ModelError, match="column split is empty in every row"):
        table_one(frame.assign(split=None), "split", ["menopause"])


def test_mistakes_name_the_column_and_the_subject(frame):
    with pytest.raises(ModelError, match="no column weight_kg"):
        table_one(frame, "split", ["weight_kg"])
    with pytest.raises(ModelError, match="nonnormal: menopause is categorical"):
        table_one(frame, "split", ["menopause"], nonnormal=["menopause"])
    with pytest.raises(ModelError, match="nonnormal: age_years is not among the variables"):
        table_one(frame, "split", ["menopause"], nonnormal=["age_years"])
    with pytest.raises(ModelError, match="a group is called 'smd'"):
        table_one(frame.replace({"split": {"test": "smd"}}), "split", ["menopause"])
    named = frame.assign(subject=[f"{i:03d}" for i in range(114)])
    named["age_years"] = named["age_years"].astype(object)
    named.loc[[4, 9], "age_years"] = ["old", "6o"]
    with pytest.raises(CohortError, match=r"2 problems(.|\n)*subject 004: 'old'(.|\n)*009: '6o'"):
        table_one(named, "split", {"age_years": "continuous"})


def test_rank_tests_without_spread_have_no_p():
    assert np.isnan(groups.kruskal([[1, 1], [1], [1, 1]]).p)
    assert groups.kruskal([[1, 2], [], [3]]).test == "none: an empty group"
    assert groups.welch_anova([[1, 2], [1, 1], [3, 4]]).test == "none: too few or equal values"
    assert np.isnan(groups.student([1, 1], [1, 1]).p)


# --- the verb ------------------------------------------------------------------------------


def _run(*arguments: object) -> str:
    app = typer.Typer()
    app.command()(verb)
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if isinstance(result.exception, MedpipeError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_verb_prints_and_writes_the_table(frame, tmp_path):
    frame.insert(0, "subject", [f"{i:03d}" for i in range(114)])
    write_table(tmp_path / "s.tsv", frame)
    text = _run(tmp_path / "s.tsv", "--variables", "age_years, miller_payne:ordinal",
                "--nonnormal", "age_years", "--out", tmp_path / "t.tsv")  # fmt: skip
    table = read_table(tmp_path / "t.tsv")
    expected = table_one(
        frame, "split", {"age_years": None, "miller_payne": "ordinal"}, nonnormal=["age_years"]
    )
    assert table["p"].dropna().tolist() == expected["p"].dropna().tolist()
    assert table["all"].tolist()[1:] == expected["all"].tolist()[1:]
    lines = text.splitlines()
    assert lines[0].split()[:4] == ["variable", "level", "all", "development"]
    median = next(line for line in lines if line.startswith("age_years"))
    assert "median (Q1 to Q3)" in median
    assert median.rstrip().endswith("Wilcoxon rank-sum")
    assert sum("miller_payne" in line for line in lines) == 1
    # aligned: the test's name begins where its heading does
    assert median.index("Wilcoxon") == lines[0].rindex("test")
    assert (tmp_path / "t.tsv.prov.json").is_file()


def test_the_verb_takes_every_column_by_default_and_can_be_quiet(frame, tmp_path):
    write_table(tmp_path / "s.tsv", frame)
    text = _run(tmp_path / "s.tsv", "--quiet")
    assert text.strip() == str(tmp_path / "s_table_one.tsv")
    table = read_table(tmp_path / "s_table_one.tsv")
    assert table.variable.drop_duplicates().tolist() == [
        "subjects", "menopause", "miller_payne", "age_years",
    ]  # fmt: skip
    with pytest.raises(SettingsError, match="--variables age_years:normal: kind 'normal'"):
        _run(tmp_path / "s.tsv", "--variables", "age_years:normal")


def test_the_verb_counts_nobody_twice(frame, tmp_path):
    frame.insert(0, "subject", ["000", *(f"{i:03d}" for i in range(113))])
    write_table(tmp_path / "s.tsv", frame)
    with pytest.raises(CohortError, match=r"s\.tsv: subject 000 has two rows; keep one row"):
        _run(tmp_path / "s.tsv")
    assert not (tmp_path / "s_table_one.tsv").exists()


def test_skew_decides_how_a_number_is_shown():
    rng = np.random.default_rng(1)
    assert skewed(rng.lognormal(0, 1, 200))
    assert not skewed(rng.normal(size=200))
    assert not skewed(np.array([1.0, np.nan, 1.0, 1.0]))
