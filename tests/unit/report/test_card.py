"""The packaged cards: readable, and true to the printed values."""

import json
from pathlib import Path

import pytest

import pipeline.report
from pipeline.errors import SettingsError
from pipeline.radiomics.dictionary import COLUMNS
from pipeline.report.card import parse_card

CARDS = sorted((Path(pipeline.report.__file__).parent / "cards").glob("*.json"))


@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.stem)
def test_packaged_cards_are_valid(path):
    card = parse_card(json.loads(path.read_text("utf-8")), source=path.name)
    assert card.title
    assert card.citation
    assert set(card.published) <= set(card.models)
    for item in card.comparisons:
        assert item.feature in COLUMNS
        assert not item.labels or len(item.labels) == len(item.sets)


def test_published_intervals_are_half_widths_not_standard_errors():
    # The paper's column "SE" is 1.96 times its column "SD" in every row.
    path = next(p for p in CARDS if p.stem == "nact")
    card = parse_card(json.loads(path.read_text("utf-8")), source="nact")
    deviations = {"baseline": 0.079, "followup": 0.065, "deltarad": 0.070, "jacobian": 0.079,
                  "fusion": 0.069, "fusion_subtype": 0.067}  # fmt: skip
    for model, deviation in deviations.items():
        assert card.published[model][1] == pytest.approx(1.96 * deviation, abs=0.0011)


@pytest.mark.parametrize(
    ("record", "message"),
    [({"titel": "x"}, "unknown key 'titel'"), ({"question": "x"}, "KeyError 'title'"),
     ({"title": "x", "patients": [{"column": "a"}]}, "TypeError")],
)  # fmt: skip
def test_mistakes_are_named(record, message):
    with pytest.raises(SettingsError, match=message):
        parse_card(record, source="own.json")


def test_names_fall_back_to_the_file_name():
    card = parse_card({"title": "x", "models": {"a": "A"}}, source="x")
    assert (card.model("a"), card.model("my_model")) == ("A", "my model")
