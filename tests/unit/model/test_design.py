import numpy as np
import pandas as pd
import pytest

from pipeline.errors import ModelError
from pipeline.model.design import FEATURE_SETS, build_design


def _tables(n: int = 16) -> tuple[pd.DataFrame, pd.DataFrame]:
    rng = np.random.default_rng(0)
    names = [f"{i:03d}" for i in range(n)]
    features = pd.DataFrame({"subject": names, "followup_roi_empty": 0})
    for feature_set in FEATURE_SETS:
        for feature in ("shape_Volume_mm3", "firstorder_Mean"):
            features[f"{feature_set}.{feature}"] = rng.normal(size=n)
    subjects = pd.DataFrame(
        {
            "subject": names,
            "split": ["development"] * (n - 4) + ["test"] * 4,
            "response": np.arange(n) % 2,
            "subtype": ["luminal_a", "luminal_b", "her2", "basal"] * (n // 4),
        }
    )
    return features, subjects


def test_sets_fusion_and_subtype():
    features, subjects = _tables()
    one = build_design(features, subjects, feature_set="jacobian")
    assert one.features == ("jacobian.shape_Volume_mm3", "jacobian.firstorder_Mean")
    assert one.extra.shape == (16, 0)
    fusion = build_design(features, subjects, feature_set="fusion", with_subtype=True)
    assert [f.split(".")[0] for f in fusion.features] == [s for s in FEATURE_SETS for _ in "ab"]
    assert fusion.extra_names[2] == "subtype.her2"
    assert fusion.extra.tolist() == np.tile(np.eye(4), (4, 1)).tolist()
    assert fusion.development.sum() == 12


def test_rows_are_sorted_whatever_the_order_of_the_tables():
    features, subjects = _tables()
    first = build_design(features, subjects, feature_set="fusion", with_subtype=True)
    second = build_design(
        features.sample(frac=1, random_state=1), subjects.sample(frac=1, random_state=2),
        feature_set="fusion", with_subtype=True,
    )  # fmt: skip
    assert first.subjects == second.subjects == tuple(f"{i:03d}" for i in range(16))
    for name in ("development", "outcome", "values", "extra"):
        assert np.array_equal(getattr(first, name), getattr(second, name))


def test_excluded_subjects_are_left_out():
    features, subjects = _tables()
    design = build_design(features.drop(index=[2, 5]), subjects, feature_set="baseline")
    assert "002" not in design.subjects
    assert len(design.subjects) == 14


def test_a_test_row_may_lack_its_outcome_but_a_development_row_may_not():
    features, subjects = _tables()
    subjects["response"] = subjects["response"].astype(float)
    subjects.loc[15, "response"] = np.nan
    assert np.isnan(build_design(features, subjects, feature_set="baseline").outcome[15])
    subjects.loc[0, "response"] = np.nan
    with pytest.raises(ModelError, match="column response, subject 000: nan is neither 0 nor 1"):
        build_design(features, subjects, feature_set="baseline")


#: mistake -> (features, subjects) with it
MISTAKES = {
    "split": lambda f, s: (f, s.replace({"split": {"test": "train"}})),
    "one class": lambda f, s: (f, s.assign(response=1)),
    "few": lambda f, s: (f, s.assign(split=["test"] * 10 + ["development"] * 6)),
    "subtype": lambda f, s: (f, s.replace({"subtype": {"basal": "luminal_c"}})),
    "no subtype": lambda f, s: (f, s.replace({"subtype": {"basal": np.nan}})),
    "column": lambda f, s: (f, s.drop(columns="response")),
    "stranger": lambda f, s: (f.replace({"subject": {"000": "999"}}), s),
    "text": lambda f, s: (f.assign(**{"baseline.firstorder_Mean": "high"}), s),
    "no set": lambda f, s: (f.loc[:, [c for c in f if "delta" not in c]], s),
    "two rows": lambda f, s: (f.replace({"subject": {"001": "000"}}), s),
}


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("split", "s.tsv: column split, subject 012: 'train' is neither development nor test"),
        ("one class", "s.tsv: all 12 development rows have response = 1; .*both classes"),
        ("few", "s.tsv: 6 development rows have features; a model needs at least 10"),
        ("subtype", "s.tsv: column subtype, subject 003: 'luminal_c' is none of luminal_a"),
        ("no subtype", "s.tsv: column subtype, subject 003: '' is none of"),
        ("column", "s.tsv: column response is missing; add it"),
        ("stranger", "f.tsv: subject 999 is not in s.tsv"),
        ("text", "f.tsv: column baseline.firstorder_Mean holds text"),
        ("no set", "f.tsv: no column starts with 'deltarad.'; it has .* baseline, followup"),
        ("two rows", "f.tsv: subject 000 has two rows"),
    ],
)
def test_mistakes_name_table_place_and_remedy(kind, message):
    features, subjects = MISTAKES[kind](*_tables())
    with pytest.raises(ModelError, match=message):
        build_design(
            features, subjects, feature_set="fusion", with_subtype=True, sources=("f.tsv", "s.tsv")
        )


def test_a_subject_in_both_splits_is_refused():
    features, subjects = _tables()
    twice = pd.concat([subjects, subjects.iloc[[0]].assign(split="test")])
    with pytest.raises(ModelError, match="subject 000 is in split development and in split test"):
        build_design(features, twice, feature_set="baseline")
