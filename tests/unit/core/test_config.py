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


NETWORKS = {
    "layout": "lungtumor",
    "labels": {"tumour": 1},
    "training": {"iterations": 60000, "rounds": {"dice": 2, "focal": 1}, "repeat": 2},
    "arms": {
        "v1": {"title": "v1", "network": "densehighres3dnet", "options": {"version": 1}},
        "own": {"title": "own", "network": "unet", "iterations": 90, "batch": 4},
    },
}


def test_rounds_are_scaled_to_the_iterations_of_each_network():
    from pipeline.config import NetworksSettings, scaled_rounds

    assert scaled_rounds({"dice": 2, "focal": 1}, 2, 60000) == {"dice": 20000, "focal": 10000}
    assert scaled_rounds({"dice": 2, "focal": 1}, 2, 4) == {"dice": 1, "focal": 1}
    networks = NetworksSettings(**NETWORKS)
    flags = networks.training_flags("own").split()
    assert {"--iterations=90", "--rounds=dice:30,focal:15", "--repeat=2", "--batch=4"} <= {*flags}
    assert {"--fold=none", "--folds=2"} <= {*flags}
    assert "--option=version=1" in networks.training_flags("v1").split()


def test_with_validating_subjects_the_networks_are_of_their_fold():
    from pipeline.config import NetworksSettings

    networks = NetworksSettings(**NETWORKS, validation=0.2, schemes=["test", "folds"])
    assert networks.run_name == "fold-0"
    assert "--fold=0" in networks.training_flags("v1").split()
    assert networks.parts("folds") == ("fold0", "fold1", "fold2", "fold3", "fold4")
    assert networks.parts("test") == ("test",)


def test_an_ensemble_of_networks_that_are_not_there_is_told():
    wrong = NETWORKS | {"ensembles": {"mean": {"title": "Mean", "members": ["v1", "v9"]}}}
    with pytest.raises(SettingsError, match="no network 'v9' among the arms"):
        parse_config({"studies": {"lung": {**STUDY, "networks": wrong}}})


def test_the_table_has_the_order_that_is_asked_for():
    from pipeline.config import NetworksSettings

    assert NetworksSettings(**NETWORKS).rows == ("v1", "own")
    assert NetworksSettings(**NETWORKS, order=["own"]).rows == ("own", "v1")
    wrong = NETWORKS | {"order": ["own", "v9"]}
    with pytest.raises(SettingsError, match="order: 'v9' is neither a network nor an ensemble"):
        parse_config({"studies": {"lung": {**STUDY, "networks": wrong}}})
