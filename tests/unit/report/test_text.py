"""Numbers as readers want them."""

import pytest

from pipeline.report import text


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.8, "0.80"), (0.042, "0.042"), (0.0009, "< 0.001"), (0.0, "< 0.001"), (1.0, "1.00"),
     (float("nan"), text.MISSING), (None, text.MISSING)],
)  # fmt: skip
def test_p_value(value, expected):
    assert text.p_value(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1234.5, "1,234"), (12.345, "12.3"), (0.012345, "0.0123"), (0, "0"), (1.5e7, "1.50e+07"),
     (-0.292, "-0.292"), (1e-5, "1.00e-05"), ("x", text.MISSING)],
)  # fmt: skip
def test_significant(value, expected):
    found = text.significant(value)
    assert found == expected or (value == 0 and float(found) == 0)


def test_number_interval_percent():
    assert text.number(1234.5678, 2) == "1,234.57"
    assert text.interval(0.7, 0.924) == "0.70 to 0.92"
    assert text.interval(0.7, float("inf")) == text.MISSING
    assert text.percent(0.126, 1) == "12.6 %"


def test_flatten_names_nested_settings_in_order():
    record = {"b": {"y": 1.0, "x": [1, 2]}, "a": None, "c": True, "d": "text"}
    assert text.flatten(record) == {
        "a": "null",
        "b.x": "1, 2",
        "b.y": "1",
        "c": "true",
        "d": "text",
    }
    assert list(text.flatten(record)) == ["a", "b.x", "b.y", "c", "d"]
