"""Tables keep ids, numbers and formulas what they are; documents and transforms likewise."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import ReadError
from pipeline.io import (
    read_affine,
    read_json,
    read_table,
    write_affine,
    write_json,
    write_table,
)


def table(tmp_path, content, name="t.tsv"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return read_table(path)


def test_ids_stay_text_and_numbers_become_numbers(tmp_path):
    found = table(
        tmp_path,
        "subject\tsession\tage_years\tn_voxels\tsubtype\tcode\n"
        "007\tbaseline\t61.5\t12\tluminal_a\t01\n"
        "nan\t\tNA\t13\tNA\t02\n"
        "NA\t1\t\t14\ther2\t10\n",
    )
    assert found["subject"].tolist() == ["007", "nan", "NA"]
    assert found["session"].tolist()[::2] == ["baseline", "1"]
    assert math.isnan(found["session"][1])
    assert found["age_years"].dtype == np.float64
    assert found["age_years"].isna().tolist() == [False, True, True]
    assert found["n_voxels"].dtype == np.int64
    assert found["subtype"].isna().tolist() == [False, True, False]
    assert found["code"].tolist() == ["01", "02", "10"]


def test_byte_order_mark_windows_ends_commas_and_quotes(tmp_path):
    content = b'\xef\xbb\xbfsubject,note\r\n1,"a, ""b"""\r\n\r\n2,c\r\n'
    found = table(tmp_path, content, "t.csv")
    assert found.to_dict("list") == {"subject": ["1", "2"], "note": ['a, "b"', "c"]}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"a\tb\n1\t2\n1\t2\t3\n", "line 3: 3 cells where the header has 2"),
        (b"a\tb\n1\n", "line 2: 1 cells"),
        (b"a\ta\n1\t2\n", "'a' is there twice"),
        (b"a\t\n1\t2\n", "column 2 has no name"),
        (b"a\tb\n1\t\xff\n", "not UTF-8 text .byte 6"),
        (b"a\tb\n1\t\0\n", "NUL"),
        (b'a\tb\n1\t"x\n', "line 2: .*quotation"),
    ],
)
def test_broken_tables_are_refused_with_their_place(tmp_path, content, reason):
    with pytest.raises(ReadError, match=reason) as error:
        table(tmp_path, content)
    assert str(tmp_path / "t.tsv") in str(error.value)


def test_missing_table(tmp_path):
    with pytest.raises(ReadError, match="cannot be read"):
        read_table(tmp_path / "none.tsv")


def test_what_is_written(tmp_path):
    frame = pd.DataFrame(
        {
            "subject": ["007", "=cmd()", "-rf", "a\tb\nc"],
            "x_mm": [0.1, math.nan, -1e-300, 1 / 3],
            "n": [1, -2, 3, 4],
            "ok": [True, False, True, False],
            "gone": [None, pd.NA, "-1.5", "+49 30"],
        }
    )
    write_table(tmp_path / "t.tsv", frame)
    assert (tmp_path / "t.tsv").read_bytes().decode() == (
        "subject\tx_mm\tn\tok\tgone\n"
        "007\t0.1\t1\t1\t\n"
        "'=cmd()\t\t-2\t0\t\n"
        "'-rf\t-1e-300\t3\t1\t-1.5\n"
        "a b c\t0.3333333333333333\t4\t0\t'+49 30\n"
    )
    found = read_table(tmp_path / "t.tsv")
    assert found["subject"].tolist() == ["007", "=cmd()", "-rf", "a b c"]
    assert found["x_mm"].tolist()[2:] == [-1e-300, 1 / 3]
    write_table(tmp_path / "again.tsv", found)
    assert (tmp_path / "again.tsv").read_bytes() == (tmp_path / "t.tsv").read_bytes()


ODD_IDS = ["../../x", "a/b", "-rf", "x" * 300, "🧠", "nan", "NA", "None", "007", "1e5", "=cmd()",
           "'=x", "''@y", "\u00a0=z", "\uff1dfull", '"quoted"', "a,b", " padded "]  # fmt: skip


@pytest.mark.parametrize("name", ["t.tsv", "t.csv"])
def test_odd_ids_come_back_exactly_and_none_is_a_formula(tmp_path, name):
    write_table(tmp_path / name, pd.DataFrame({"subject": ODD_IDS, "x": range(len(ODD_IDS))}))
    assert read_table(tmp_path / name)["subject"].tolist() == ODD_IDS
    for line in (tmp_path / name).read_text("utf-8").splitlines()[1:]:
        assert line.lstrip(' \u00a0"')[0] not in "=@\uff1d"


@settings(max_examples=100, deadline=None)
@given(
    ids=st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1)),
    numbers=st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1),
)
def test_round_trip_of_anything(tmp_path_factory, ids, numbers):
    path = tmp_path_factory.getbasetemp() / "any.tsv"
    count = min(len(ids), len(numbers))
    frame = pd.DataFrame(
        {"subject": np.array(ids[:count], dtype=object), "x": np.array(numbers[:count])}
    )
    write_table(path, frame)
    found = read_table(path)
    assert found["subject"].tolist() == ids[:count]
    assert np.array_equal(
        found["x"].to_numpy(np.float64), frame["x"].to_numpy(np.float64), equal_nan=True
    )


def test_documents(tmp_path):
    path = tmp_path / "d.json"
    document = {
        "b": np.float32(0.5), "a": [math.nan, math.inf, np.arange(2), np.int64(3), np.bool_(True)],
        "path": Path("x/y"), "set": {2, 1}, "ü": (None, "text"), 1: {"z": 1, "y": 0.1},
    }  # fmt: skip
    write_json(path, document)
    assert read_json(path) == {
        "b": 0.5, "a": [None, None, [0, 1], 3, True], "path": "x/y", "set": [1, 2],
        "ü": [None, "text"], "1": {"z": 1, "y": 0.1},
    }  # fmt: skip
    text = path.read_text("utf-8")
    assert text.endswith("}\n")
    assert '  "ü"' in text
    assert list(json.loads(text)) == sorted(json.loads(text))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"a": 1, "a": 2}', "'a' appears twice"),
        ('{"a": NaN}', "NaN is not JSON"),
        ("{", "not valid JSON"),
        ("", "not valid JSON"),
        ("[" * 100000, "not valid JSON"),
    ],
)
def test_broken_documents(tmp_path, text, reason):
    path = tmp_path / "d.json"
    path.write_text(text)
    with pytest.raises(ReadError, match=reason):
        read_json(path)


def test_affine_is_exact_and_means_the_same_to_simpleitk(tmp_path, rng):
    path = tmp_path / "a.tfm"
    for _ in range(20):
        matrix = np.vstack([rng.normal(size=(3, 4)) * 30, (0, 0, 0, 1)])
        write_affine(path, matrix)
        assert np.array_equal(read_affine(path), matrix)
        point = rng.normal(size=3) * 100
        theirs = sitk.ReadTransform(str(path)).TransformPoint(point.tolist())
        np.testing.assert_allclose(theirs, matrix[:3, :3] @ point + matrix[:3, 3], rtol=1e-12)


def test_affine_with_centre_that_simpleitk_wrote(tmp_path, rng):
    affine = sitk.AffineTransform(3)
    affine.SetMatrix((np.eye(3) + rng.normal(size=(3, 3)) * 0.1).ravel().tolist())
    affine.SetTranslation((1.0, 2.0, 3.0))
    affine.SetCenter((10.0, -20.0, 30.0))
    sitk.WriteTransform(affine, str(tmp_path / "a.tfm"))
    matrix = read_affine(tmp_path / "a.tfm")
    point = np.array([5.0, 6.0, 7.0])
    expected = affine.TransformPoint(point.tolist())
    np.testing.assert_allclose(matrix[:3, :3] @ point + matrix[:3, 3], expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("hello", "not an ITK transform"),
        ("#Insight Transform File V1.0\nTransform: Euler2DTransform_double_2_2\n", "Euler2D"),
        ("#Insight Transform File V1.0\nTransform: AffineTransform_double_3_3\nParameters: 1 2\n"
         "FixedParameters: 0 0 0\n", "12 finite numbers"),
        ("#Insight Transform File V1.0\nTransform: AffineTransform_double_3_3\nParameters: "
         "1 0 0 0 1 0 0 0 x 0 0 0\nFixedParameters: 0 0 0\n", "not numbers"),
        ("#Insight Transform File V1.0\nTransform: AffineTransform_double_3_3\nParameters: "
         "1 0 0 0 1 0 0 0 0 0 0 0\nFixedParameters: 0 0 0\n", "cannot be inverted"),
        ("\u00e4", "not a text file"),
    ],
)  # fmt: skip
def test_other_transforms_are_refused(tmp_path, text, reason):
    path = tmp_path / "a.tfm"
    path.write_text(text, "utf-8")
    with pytest.raises(ReadError, match=reason):
        read_affine(path)
