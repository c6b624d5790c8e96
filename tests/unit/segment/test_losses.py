"""Losses against values worked by hand, and MONAI's where it has the same."""

import json
from math import log

import pytest
import torch
from monai.losses import DiceCELoss, DiceLoss, FocalLoss

from pipeline.errors import SettingsError
from pipeline.segment.losses import (
    LOSSES,
    Schedule,
    class_weights,
    deep,
    dice,
    dice_ce,
    focal,
    weighted_cross_entropy,
    weighted_cross_entropy_literal,
)


def logits_of(foreground):
    """Return (1, 2, voxels) logits of the foreground's probabilities."""
    p = torch.tensor([foreground])
    return torch.stack([(1 - p).log(), p.log()], dim=1)


def drawn(classes=3, shape=(2, 5, 6, 4), seed=0):
    rng = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(shape[0], classes, *shape[1:], generator=rng)
    return logits, torch.randint(0, classes, shape, generator=rng)


def sure(target, classes):
    """Return logits that give each true class a probability of 1."""
    return 200.0 * torch.nn.functional.one_hot(target, classes).movedim(-1, 1)


P, Y = [0.8, 0.4, 0.1], torch.tensor([[1, 1, 0]])


def test_dice_of_two_classes_by_hand():
    # sum(p y) = 1.2, sum(p^2) = 0.64 + 0.16 + 0.01, sum(y^2) = 2.
    assert dice(logits_of(P), Y).item() == pytest.approx(1 - 2 * 1.2 / (0.81 + 2), abs=1e-6)


def test_dice_is_the_mean_over_foreground_classes():
    p = torch.tensor([[0.2, 0.5, 0.3], [0.1, 0.2, 0.7], [0.6, 0.3, 0.1]])
    target = torch.tensor([[1, 2, 0]])
    first = 1 - 2 * 0.5 / ((0.25 + 0.04 + 0.09) + 1)
    second = 1 - 2 * 0.7 / ((0.09 + 0.49 + 0.01) + 1)
    found = dice(p.log().T[None], target)
    assert found.item() == pytest.approx((first + second) / 2, abs=1e-6)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("classes", [2, 4])
def test_a_perfect_answer_costs_nothing(name, classes):
    _, target = drawn(classes)
    assert LOSSES[name](sure(target, classes), target).item() == pytest.approx(0, abs=1e-6)


def test_dice_of_a_class_that_is_not_there():
    target = torch.zeros(1, 4, dtype=torch.int64)
    assert dice(sure(target, 2), target).item() == pytest.approx(0, abs=1e-6)
    assert dice(sure(1 - target, 2), target).item() == pytest.approx(1, abs=1e-6)


def test_dice_is_monais():
    logits, target = drawn()
    expected = DiceLoss(
        include_background=False, to_onehot_y=True, softmax=True, squared_pred=True, batch=True,
        smooth_nr=0.0, smooth_dr=0.0,
    )(logits, target[:, None])  # fmt: skip
    torch.testing.assert_close(dice(logits, target), expected)


def test_focal_by_hand():
    # q = 0.8, 0.4, 0.9.
    total = 0.2**2 * log(0.8) + 0.6**2 * log(0.4) + 0.1**2 * log(0.9)
    assert focal(logits_of(P), Y).item() == pytest.approx(-0.75 / 3 * total, abs=1e-6)


def test_focal_without_focus_is_mean_cross_entropy():
    logits, target = drawn()
    expected = torch.nn.functional.cross_entropy(logits, target)
    torch.testing.assert_close(focal(logits, target, alpha=1.0, gamma=0.0), expected)


def test_focal_is_monais():
    logits, target = drawn()
    each = FocalLoss(use_softmax=True, to_onehot_y=True, gamma=2.0, reduction="none")
    expected = 0.75 * each(logits, target[:, None]).sum(dim=1).mean()
    torch.testing.assert_close(focal(logits, target), expected)


def test_weighted_cross_entropy_by_hand():
    # One of four is foreground: weights 1, 1/3, 1/3, 1/3.
    logits, target = logits_of([0.5, 0.5, 0.2, 0.1]), torch.tensor([[1, 0, 0, 0]])
    total = -(log(0.5) + (log(0.5) + log(0.8) + log(0.9)) / 3)
    assert weighted_cross_entropy(logits, target).item() == pytest.approx(total / 2, abs=1e-6)
    literal = weighted_cross_entropy_literal(logits, target).item()
    assert literal == pytest.approx(total / 4, abs=1e-6)


def test_weights_are_counted_in_each_image():
    target = torch.tensor([[1, 0, 0, 0], [1, 1, 2, 0]])
    expected = torch.tensor([[1 / 3, 1, 0], [1, 1 / 2, 1]])
    torch.testing.assert_close(class_weights(target, 3), expected)


@pytest.mark.parametrize("background", [10, 999])
def test_both_classes_weigh_the_same_in_all(background):
    target = torch.zeros(1, background + 1, dtype=torch.int64)
    target[0, 0] = 1
    weights = class_weights(target, 2)[0]
    assert (weights * torch.tensor([background, 1])).tolist() == pytest.approx([1, 1])


def test_the_ratio_of_weights_is_capped():
    target = torch.zeros(1, 5001, dtype=torch.int64)
    target[0, 0] = 1
    low, high = class_weights(target, 2)[0].tolist()
    assert low == pytest.approx(1 / 5000)
    assert high == pytest.approx(1000 / 5000)


def test_an_image_without_foreground_takes_the_counts_of_the_batch():
    target = torch.tensor([[1, 0, 0, 0], [0, 0, 0, 0]])
    expected = torch.tensor([[1 / 3, 1], [1 / 7, 1]])
    torch.testing.assert_close(class_weights(target, 2), expected)
    # So it counts 4/7 in all beside the 2 of the other one.
    logits = logits_of([0.5, 0.5, 0.5, 0.5]).repeat(2, 1, 1)
    logits[1, 1] -= 1
    entropy = torch.nn.functional.cross_entropy(logits, target, reduction="none")
    by_hand = (2 * log(2) + 4 / 7 * entropy[1, 0].item()) / (2 + 4 / 7)
    assert weighted_cross_entropy(logits, target).item() == pytest.approx(by_hand, abs=1e-6)


def test_a_batch_without_foreground_is_plain_cross_entropy():
    logits, _ = drawn(2)
    target = torch.zeros(2, 5, 6, 4, dtype=torch.int64)
    expected = torch.nn.functional.cross_entropy(logits, target)
    torch.testing.assert_close(weighted_cross_entropy(logits, target), expected)


def test_dice_ce_by_hand():
    # Soft Dice with plain sums: sum(p) = 1.3, sum(y) = 2.
    soft = 1 - (2 * 1.2 + 1e-5) / (1.3 + 2 + 1e-5)
    entropy = -(log(0.8) + log(0.4) + log(0.9)) / 3
    assert dice_ce(logits_of(P), Y).item() == pytest.approx(soft + entropy, abs=1e-6)


def test_dice_ce_is_monais():
    logits, target = drawn()
    expected = DiceCELoss(include_background=False, to_onehot_y=True, softmax=True, batch=True)
    torch.testing.assert_close(dice_ce(logits, target), expected(logits, target[:, None]))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("shape", [(2, 7), (2, 6, 5), (1, 4, 3, 2)])
def test_gradients_are_right(name, shape):
    logits, target = drawn(3, shape)
    logits = logits.requires_grad_()
    LOSSES[name](logits, target).backward()
    step = 1e-2
    for index in [(0, 0, *[0] * (len(shape) - 1)), (-1, 2, *[-1] * (len(shape) - 1))]:
        up, down = logits.detach().clone(), logits.detach().clone()
        up[index] += step
        down[index] -= step
        slope = (LOSSES[name](up, target) - LOSSES[name](down, target)) / (2 * step)
        assert logits.grad[index].item() == pytest.approx(slope.item(), abs=2e-4)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_float32(name, dtype):
    # 64k voxels: a sum of ones in float16 would end at 2048, one of squares at infinity.
    logits, target = drawn(3, (1, 40, 40, 40))
    half = logits.to(dtype).requires_grad_()
    with torch.autocast("cpu", dtype=dtype):
        found = LOSSES[name](half, target)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, LOSSES[name](half.detach().float(), target))
    found.backward()
    assert half.grad.isfinite().all()


@pytest.mark.parametrize("name", LOSSES)
def test_extreme_logits_stay_finite(name):
    logits = torch.tensor([[[6e4, -6e4], [-6e4, 6e4]]], dtype=torch.float16).requires_grad_()
    for target in ([[0, 1]], [[1, 0]], [[0, 0]]):
        logits.grad = None
        found = LOSSES[name](logits, torch.tensor(target))
        found.backward()
        assert found.isfinite()
        assert logits.grad.isfinite().all()


def test_deep_supervision_by_hand():
    target = torch.tensor([[[1, 0, 0, 0], [0, 0, 0, 0], [2, 2, 0, 0], [2, 2, 0, 0]]])
    fine, coarse = torch.randn(1, 3, 4, 4), torch.randn(1, 3, 2, 2)
    first, second = dice_ce(fine, target), dice_ce(coarse, torch.tensor([[[1, 0], [2, 0]]]))
    torch.testing.assert_close(deep(dice_ce, [fine, coarse], target), (2 * first + second) / 3)
    found = deep(dice_ce, [fine, coarse], target, [0.25, 0.75])
    torch.testing.assert_close(found, 0.25 * first + 0.75 * second)
    torch.testing.assert_close(deep(dice_ce, [fine, coarse], target, [3, 0]), first)
    torch.testing.assert_close(deep(dice_ce, [fine], target), first)


@pytest.mark.parametrize("weights", [[1.0], [0.0, 0.0], []])
def test_weights_must_match_the_heads(weights):
    outputs = [torch.zeros(1, 2, 4), torch.zeros(1, 2, 2)]
    with pytest.raises(SettingsError, match="2 heads; give one each"):
        deep(dice, outputs, torch.zeros(1, 4, dtype=torch.int64), weights)


ROUNDS = Schedule([("dice", 20_000), ("focal", 10_000)], repeat=2)


def test_the_published_schedule():
    assert ROUNDS.boundaries == (20_000, 30_000, 50_000, 60_000)
    names = {i: ROUNDS.at(i)[0] for i in (0, 19_999, 20_000, 29_999, 30_000, 49_999, 50_000)}
    assert names == {
        0: "dice", 19_999: "dice",
        20_000: "focal", 29_999: "focal",
        30_000: "dice", 49_999: "dice",
        50_000: "focal",
    }  # fmt: skip
    assert ROUNDS.at(20_000)[1] is focal


@pytest.mark.parametrize("iteration", [59_999, 60_000, 10**9])
def test_the_last_loss_stays_after_the_end(iteration):
    assert ROUNDS.at(iteration) == ("focal", focal)


def test_a_schedule_as_json():
    document = json.loads(json.dumps(ROUNDS.to_json()))
    assert document == {"rounds": [["dice", 20_000], ["focal", 10_000]], "repeat": 2}
    assert Schedule.from_json(document) == ROUNDS
    assert hash(Schedule.from_json(document)) == hash(ROUNDS)


@pytest.mark.parametrize(
    ("rounds", "repeat", "message"),
    [
        ([("hinge", 10)], 1, r"\['hinge'\]: choose among dice, dice_ce"),
        ([], 1, "choose among"),
        ([("dice", 0)], 1, "numbers of 1 or more"),
        ([("dice", 5)], 0, "numbers of 1 or more"),
    ],
)
def test_a_schedule_without_meaning(rounds, repeat, message):
    with pytest.raises(SettingsError, match=message):
        Schedule(rounds, repeat)


@pytest.mark.parametrize(
    "document", [{}, {"rounds": [["dice"]]}, {"rounds": [["dice", 1]], "again": 1}]
)
def test_a_document_that_is_no_schedule(document):
    with pytest.raises(SettingsError, match="schedule"):
        Schedule.from_json(document)
