"""Settings: a typo stops with its full path; flags say every setting."""

import pytest

from pipeline.config import PreprocessSettings, Study, parse_config
from pipeline.errors import SettingsError

STUDY = {"images": "i.tsv", "subjects": "s.tsv", "target": "results/x.tsv"}


def test_a_typo_is_named_with_its_full_path():
    raw = {"studies": {"nact": {**STUDY, "register": {"max_step": 3}}}}
    with pytest.raises(SettingsError, match=r"studies\.nact\.register\.max_step: no such setting"):
        parse_config(raw)


def test_every_problem_is_told_at_once():
    raw = {
        "devise": "cpu",
        "studies": {"nact": {**STUDY, "preprocess": {"spacing_mm": -1}, "sessions": ["a", "a"]}},
    }
    with pytest.raises(SettingsError) as caught:
        parse_config(raw)
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert any(line.startswith("studies.nact.preprocess.spacing_mm") for line in lines)
    assert any(line.startswith("devise") for line in lines)


def test_flags_carry_every_setting():
    flags = PreprocessSettings(n4=False, spacing_mm=2.0).as_flags()
    assert flags.split() == [
        "--no-n4", "--n4-shrink=4", "--n4-levels=4", "--n4-iterations=50",
        "--spacing-mm=2.0", "--interpolation=bspline3", "--normalise=none",
    ]  # fmt: skip


def test_a_reason_with_quotes_reaches_the_shell_whole():
    import shlex

    study = Study.model_validate({**STUDY, "exclude": {"017": "said 'no'; $(rm -rf x)"}})
    words = shlex.split(study.screen_flags())
    assert words[-1] == "--exclude=017=said 'no'; $(rm -rf x)"


def test_a_study_name_must_fit_a_path():
    with pytest.raises(SettingsError, match="small letters"):
        parse_config({"studies": {"My Study": STUDY}})
