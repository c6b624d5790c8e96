"""What is said of an image unlike those that a model was trained on."""

import numpy as np
import pytest

from pipeline.segment.suitability import kind_of_image, misfits, modalities
from pipeline.types import Geometry, Volume

CARD = {
    "modality": "MR",
    "training_data": {
        "spacing_mm": [[1.0, 1.0, 1.0], [1.0, 1.0, 3.0]],
        "extent_mm": [[30.0, 40.0, 30.0], [48.0, 60.0, 50.0]],
    },
}


def image(shape=(40, 50, 16), spacing=(1.0, 1.0, 2.0), low=0.0, direction=None):
    direction = np.eye(3) if direction is None else direction
    data = np.zeros(shape, np.float32)
    data[0, 0, 0] = low
    return Volume(data, Geometry(shape, spacing, (0.0, 0.0, 0.0), direction))


def test_an_image_of_the_same_sort_passes():
    assert misfits(image(), CARD) == ()
    # just inside of twice the largest and half the smallest
    assert misfits(image((48, 60, 25), (2.0, 2.0, 4.0)), CARD) == ()


def test_axes_are_those_of_the_patient_not_of_the_array():
    """Slices first: k along L, i along P, j along S."""
    turned = np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])
    assert misfits(image((50, 16, 40), (1.0, 2.0, 1.0), direction=turned), CARD) == ()
    (words,) = misfits(image((50, 16, 36), (1.0, 1.0, 2.5), direction=turned), CARD)
    assert words.startswith("voxels of 2.5 x 1 x 1 mm, and the model was trained on 1 x 1 x 1 to")


@pytest.mark.parametrize(("given", "words"), [
    (image((240, 240, 160), (1.0, 1.0, 1.0)), ["an image of 240 x 240 x 160 mm, and"]),
    (image((10, 50, 16)), ["an image of 10 x 50 x 32 mm"]),
    (image((160, 200, 16), (0.25, 0.25, 2.0)), ["voxels of 0.25 x 0.25 x 2 mm"]),
    (image(low=-1000.0), ["looks like CT (air far below 0), the model was trained on MR"]),
    (image((512, 512, 9), (0.1, 0.1, 9.0), low=-1000.0), ["looks like CT", "voxels of"]),
])  # fmt: skip
def test_what_is_odd_is_named(given, words):
    found = misfits(given, CARD)
    assert len(found) == len(words)
    for part, said in zip(words, found, strict=True):
        assert part in said


def test_a_model_of_ct():
    assert "no voxel is below -500" in misfits(image(), {"modality": "ct"})[0]
    assert misfits(image(low=-1000.0), {"modality": "CT"}) == ()
    assert misfits(image(), {"modality": "CT, MR T1"}) == ()


@pytest.mark.parametrize("card", [
    {}, {"modality": "PET"}, {"training_data": "191 crops"}, {"training_data": {"spacing_mm": 3}},
    {"training_data": {"extent_mm": [[1, 2], [3, 4]]}},
    {"training_data": {"extent_mm": [["a"] * 3] * 2}},
])  # fmt: skip
def test_cards_that_do_not_say(card):
    assert misfits(image((900, 1, 1)), card) == ()


def test_kinds():
    assert kind_of_image(image(low=-501.0).data) == "CT"
    assert kind_of_image(image(low=-400.0).data) == "MR"
    assert modalities({"modality": "MRI/CT, pet"}) == ["MR", "CT", "PET"]
