"""The sheet of a training: every mistake at once, nobody in two folds."""

import pytest

from pipeline.errors import CohortError
from pipeline.segment.training.folds import deal_folds
from pipeline.segment.training.sheet import check_twins, read_training_sheet


def sheet(folder, lines, header="subject\timage\tmask\tfold\tgroup"):
    for name in ("a.nii.gz", "b.nii.gz", "c.nii.gz", "m.nii.gz"):
        (folder / name).touch()
    path = folder / "sheet.tsv"
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def problems(path):
    with pytest.raises(CohortError) as caught:
        read_training_sheet(path)
    return caught.value.problems


def test_rows_are_sorted_and_a_second_image_gets_a_name_of_its_own(tmp_path):
    rows = read_training_sheet(
        sheet(
            tmp_path,
            ["007\tb.nii.gz\tm.nii.gz", "007\ta.nii.gz\tm.nii.gz", "001\tc.nii.gz\tm.nii.gz"],
            header="subject\timage\tmask",
        )
    )
    assert [row.name for row in rows] == ["001", "007", "007_2"]
    assert [row.image.name for row in rows] == ["c.nii.gz", "a.nii.gz", "b.nii.gz"]
    assert {row.fold for row in rows} == {None}
    assert rows[0].group == "001"


def test_every_mistake_is_told_at_once(tmp_path):
    found = problems(
        sheet(
            tmp_path,
            [
                "one\ta.nii.gz\tm.nii.gz\t0\t",
                "one\tb.nii.gz\tm.nii.gz\t1\t",
                "../x\tc.nii.gz\tm.nii.gz\t1\t",
                "two\tgone.nii.gz\tm.nii.gz\t1\t",
                "three\ta.nii.gz\t\t1\t",
                "four\tc.nii.gz\tm.nii.gz\tx\t",
            ],
        )
    )
    text = "\n".join(found)
    assert ":3: subject 'one' is in fold 1 here and in fold 0 in row 2" in text
    assert ":4: subject '../x' cannot name a folder" in text
    assert ":5: image 'gone.nii.gz' does not exist" in text
    assert ":6: mask is empty" in text
    assert ":7: fold 'x' is no whole number" in text


def test_a_group_in_two_folds_is_refused(tmp_path):
    lines = ["one\ta.nii.gz\tm.nii.gz\t0\ttwins", "two\tb.nii.gz\tm.nii.gz\t1\ttwins"]
    assert "group 'twins' is in fold 1 here" in "\n".join(problems(sheet(tmp_path, lines)))


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["one\ta.nii.gz\tm.nii.gz\t0\t", "two\tb.nii.gz\tm.nii.gz\t\t"], "fold is empty here"),
        (["one\ta.nii.gz\tm.nii.gz\t0\t", "two\tb.nii.gz\tm.nii.gz\t0\t"], "is the only one"),
        (["one\ta.nii.gz\tm.nii.gz\t0\t", "two\ta.nii.gz\tm.nii.gz\t1\t"], "already in row 2"),
        (["one\ta.nii.gz\tm.nii.gz\t0\t", "ONE\tb.nii.gz\tm.nii.gz\t1\t"], "also written 'one'"),
        ([], "no row"),
    ],
)
def test_single_mistakes(tmp_path, lines, said):
    assert said in "\n".join(problems(sheet(tmp_path, lines)))


def test_the_same_voxels_in_two_folds_are_refused(tmp_path):
    lines = ["one\ta.nii.gz\tm.nii.gz\t0\t", "two\tb.nii.gz\tm.nii.gz\t1\t",
             "three\tc.nii.gz\tm.nii.gz\t1\t"]  # fmt: skip
    path = sheet(tmp_path, lines)
    one, three, two = read_training_sheet(path)
    check_twins(path, [(one, 0, "x"), (three, 1, "y"), (two, 1, "y")])
    with pytest.raises(CohortError, match=r":3: the image of two .fold 1. has the same voxels"):
        check_twins(path, [(one, 0, "x"), (three, 1, "y"), (two, 1, "x")])


def test_folds_keep_groups_whole_and_share_out_the_sizes():
    groups = [f"g{n // 2}" for n in range(60)]
    volumes = [float(n // 2) for n in range(60)]
    dealt = deal_folds(groups, volumes, folds=5, seed=1)
    assert {
        len({f for g, f in zip(groups, dealt, strict=True) if g == name}) for name in groups
    } == {1}
    assert [dealt.count(number) for number in range(5)] == [12] * 5
    for number in range(5):
        thirds = [int(v // 10) for v, f in zip(volumes, dealt, strict=True) if f == number]
        assert [thirds.count(third) for third in range(3)] == [4, 4, 4]


def test_folds_depend_on_the_seed_and_not_on_the_order_of_rows():
    groups, volumes = [f"g{n}" for n in range(11)], [float(n * n % 7) for n in range(11)]
    dealt = dict(zip(groups, deal_folds(groups, volumes, folds=3, seed=1), strict=True))
    again = deal_folds(groups[::-1], volumes[::-1], folds=3, seed=1)
    assert dealt == dict(zip(groups[::-1], again, strict=True))
    other = dict(zip(groups, deal_folds(groups, volumes, folds=3, seed=2), strict=True))
    assert dealt != other


def test_too_few_subjects_for_the_folds():
    with pytest.raises(CohortError, match="5 folds over 2 subjects"):
        deal_folds(["a", "a", "b"], [1.0, 2.0, 3.0], folds=5, seed=0)
