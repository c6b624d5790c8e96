"""Sliding windows against MONAI's and against the whole image at once."""

import numpy as np
import pytest
import torch

from pipeline.errors import SettingsError
from pipeline.segment.window import slab_axis, slabs, spans
from tests.unit.segment.stub_network import Convolution


def one_member(network):
    """Return what gives a network's probabilities of a window."""

    def answer(window):
        yield 0, torch.softmax(network(window), dim=1)[0]

    return answer


def joined(image, members, patch, **options):
    """Return all slabs as one (kept, C, I, J, K) array."""
    with torch.inference_mode():
        parts = list(
            (slab.axis, slab.start, slab.data.clone())
            for slab in slabs(image, members, patch, **options)
        )
    starts = [start for _, start, _ in parts]
    assert starts == sorted(starts)
    whole = torch.cat([data for _, _, data in parts], dim=parts[0][0] + 2)
    assert whole.shape[2:] == image.shape
    return whole


@pytest.mark.parametrize(("size", "patch", "overlap", "starts"), [
    (20, 8, 0.5, [0, 4, 8, 12]),
    (21, 8, 0.5, [0, 4, 8, 12, 13]),
    (21, 8, 0.25, [0, 6, 12, 13]),
    (8, 8, 0.5, [0]),
    (3, 1, 0.5, [0, 1, 2]),
])  # fmt: skip
def test_where_windows_lie(size, patch, overlap, starts):
    found = spans(size, patch, overlap)
    assert [span.start for span in found] == starts
    total = torch.zeros(size)
    for span in found:
        total[span.start : span.stop] += span.weight
    np.testing.assert_allclose(total, 1.0, atol=1e-6)


def test_a_smaller_image_sits_in_the_middle_of_its_window():
    (span,) = spans(5, 8, 0.5)
    assert (span.start, span.stop, span.before, span.after) == (0, 5, 1, 2)


@pytest.mark.parametrize("overlap", [-0.1, 1.0])
def test_an_overlap_without_meaning(overlap):
    with pytest.raises(SettingsError, match="overlap"):
        spans(10, 4, overlap)


@pytest.mark.parametrize("shape", [(22, 17, 14), (14, 30, 17), (13, 12, 40), (5, 20, 9)])
def test_slabs_equal_monais_sliding_window(shape):
    from monai.inferers import sliding_window_inference

    network, patch = Convolution(), (12, 8, 12)
    image = torch.from_numpy(np.random.default_rng(2).normal(size=shape).astype(np.float32))
    ours = joined(image, one_member(network), patch, passes=[1], classes=3)
    axes = [torch.exp(-0.5 * ((torch.arange(n) - (n - 1) / 2) / (0.125 * n)) ** 2) for n in patch]
    bell = axes[0][:, None, None] * axes[1][:, None] * axes[2]
    with torch.inference_mode():
        theirs = sliding_window_inference(
            image[None, None], patch, 1, lambda x: torch.softmax(network(x), dim=1),
            overlap=0.5, roi_weight_map=bell,
        )[0]  # fmt: skip
    np.testing.assert_allclose(ours[0], theirs, atol=2e-6)


def test_slabs_hold_no_more_than_a_window():
    image = torch.zeros((12, 12, 200))
    thick = [
        slab.data.shape[4]
        for slab in slabs(image, one_member(Convolution()), (12, 12, 8), passes=[1], classes=3)
    ]
    assert slab_axis((12, 12, 200), (12, 12, 8)) == 2
    assert max(thick) <= 8
    assert sum(thick) == 200


def test_a_constant_answer_stays_constant():
    answer = torch.tensor([0.1, 0.7, 0.2])

    def members(window):
        yield 0, answer.view(-1, 1, 1, 1).expand(3, *window.shape[2:])

    found = joined(torch.zeros((31, 9, 14)), members, (8, 8, 8), passes=[1], classes=3)
    np.testing.assert_allclose(
        found[0], answer.view(-1, 1, 1, 1).expand(found.shape[1:]), atol=1e-6
    )


def test_members_count_alike_and_are_kept_apart_when_asked():
    def members(window):
        for member, share in ((0, 0.2), (0, 0.4), (1, 0.9)):
            yield (
                member,
                torch.tensor([1 - share, share]).view(2, 1, 1, 1).expand(2, *window.shape[2:]),
            )

    image, options = torch.zeros((20, 8, 8)), {"passes": [2, 1], "classes": 2}
    votes = torch.zeros((2, 2), dtype=torch.float64)
    mean = joined(image, members, (8, 8, 8), votes=votes, **options)
    np.testing.assert_allclose(mean[0, 1], 0.6, atol=1e-6)
    np.testing.assert_allclose(votes, [[1280.0, 0.0], [0.0, 1280.0]], rtol=1e-6)
    apart = joined(image, members, (8, 8, 8), keep_members=True, **options)
    np.testing.assert_allclose(apart[:, 1].amax(dim=(1, 2, 3)), [0.3, 0.9], atol=1e-6)
