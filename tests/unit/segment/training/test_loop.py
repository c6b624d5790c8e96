"""The loop: it learns, stops when it should, and goes on from a checkpoint as if never stopped."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from torch import nn

from pipeline.errors import ConvergenceError, ReadError, SettingsError
from pipeline.segment.losses import Schedule
from pipeline.segment.plan import Intensity, Plan
from pipeline.segment.training.checkpoint import pack, unpack
from pipeline.segment.training.loop import Trainer, update_average
from pipeline.segment.training.settings import TrainingSettings, parse_rounds
from pipeline.segment.training.validate import dice_per_class, predict_classes

CPU = torch.device("cpu")
QUICK = TrainingSettings(iterations=6, validate_every=2, warmup=0, ema=0.9)
SCHEDULE = Schedule([("dice_ce", 6)])


def trainer_of(plan, settings=QUICK, schedule=SCHEDULE, device=CPU):
    return Trainer(plan, settings, schedule, device)


def nothing(_state):
    return None


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one) and set(one) == set(other)


def slices(plan):
    """Return a plan for a network of slices with drop-out."""
    return replace(
        plan, network="fcn8s", patch=(16, 16, 1), dimensions=2,
        options={"width": 0.05, "padding": 1, "dropout": 0.5},
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["adamw with a running mean", "sgd with drop-out"])
def test_a_run_that_goes_on_ends_with_the_same_weights(kind, plan, cases):
    if kind.startswith("sgd"):
        plan = slices(plan)
        settings = replace(QUICK, optimiser="sgd", rate=1e-2, ema=0.0, clip=0.0)
    else:
        settings = QUICK
    asked = {"plan": plan.to_json(), "rate": settings.rate}
    whole = trainer_of(plan, settings)
    stored = []
    whole.run(cases[:3], cases[3:], lambda _state: stored.append(save(pack(whole, asked))))
    assert len(stored) == 3
    resumed = trainer_of(plan, settings)
    unpack(load(stored[1]), resumed, asked)
    assert resumed.state.iteration == 4
    assert not same(resumed.network.state_dict(), whole.network.state_dict())
    resumed.run(cases[:3], cases[3:], nothing)
    assert same(resumed.network.state_dict(), whole.network.state_dict())
    assert same(resumed.weights(), whole.weights())
    timeless = [[replace(r, seconds=0.0) for r in t.state.history] for t in (whole, resumed)]
    assert timeless[0] == timeless[1]


def test_a_checkpoint_of_other_settings_is_refused_and_says_which(plan, cases):
    trainer = trainer_of(plan)
    tensors = pack(trainer, {"settings": {"rate": 1e-3, "seed": 1}, "data": {"s1": "x"}})
    with pytest.raises(SettingsError, match=r"settings.rate 0.001 there, 0.1 now") as caught:
        unpack(
            tensors, trainer_of(plan), {"settings": {"rate": 0.1, "seed": 1}, "data": {"s1": "x"}}
        )
    assert "seed" not in str(caught.value)
    with pytest.raises(SettingsError, match=r"data.s1 x there, y now"):
        unpack(
            tensors, trainer_of(plan), {"settings": {"rate": 1e-3, "seed": 1}, "data": {"s1": "y"}}
        )
    with pytest.raises(ReadError, match="no checkpoint of medpipe"):
        unpack({"weight": torch.zeros(1)}, trainer, {})


def test_it_learns(plan, cases):
    settings = replace(QUICK, iterations=40, validate_every=20, ema=0.0, rate=1e-2)
    trainer = trainer_of(plan, settings, Schedule([("dice_ce", 40)]))
    state = trainer.run(cases[:3], cases[3:], nothing)
    assert [record.iteration for record in state.history] == [20, 40]
    assert state.history[1].loss < state.history[0].loss
    assert state.best_score > 0.6
    assert state.best_score == max(record.score for record in state.history)
    scores = trainer.dice(trainer.evaluated(), cases[3:])
    assert np.mean(scores) == pytest.approx(state.best_score)


def test_the_time_ends_a_run_and_more_time_takes_it_up_again(plan, cases):
    trainer = trainer_of(plan)
    state = trainer.run(cases, [], nothing, max_seconds=0.0)
    assert state.iteration == 1
    assert "time used up after 1 of 6 iterations" in state.stopped
    assert not trainer.can_go_on(0.0)
    assert trainer.can_go_on(1e6)
    trainer.run(cases, [], nothing, max_seconds=1e6)
    assert state.stopped == "all 6 iterations done"
    assert not trainer.can_go_on(1e9)


def test_patience_counts_validations_without_a_better_one(plan, cases):
    still = replace(QUICK, iterations=50, rate=1e-12, ema=0.0, patience=3, validate_every=1)
    state = trainer_of(plan, still).run(cases[:2], cases[2:], nothing)
    assert state.stopped == "no better validation in the last 3"
    assert state.iteration == state.best_iteration + 3


def test_without_validation_the_last_weights_are_kept(plan, cases):
    trainer = trainer_of(plan)
    state = trainer.run(cases, [], nothing)
    assert state.best is None
    assert math.isnan(state.history[-1].score)
    assert same(trainer.weights(), trainer.average.state_dict())


def test_rounds_take_turns_and_share_no_mean(plan, cases):
    settings = replace(QUICK, validate_every=3, ema=0.0)
    schedule = Schedule(parse_rounds("dice:2,focal:1"), 2)
    state = trainer_of(plan, settings, schedule).run(cases, [], nothing)
    assert [record.loss_name for record in state.history] == ["focal", "focal"]
    assert all(record.loss < 0.75 for record in state.history)  # Dice begins above that


def test_a_loss_that_is_no_number_ends_it_with_advice(plan, cases):
    trainer = trainer_of(plan)
    with torch.no_grad():
        next(trainer.network.parameters()).fill_(math.nan)
    with pytest.raises(ConvergenceError, match="lower --rate"):
        trainer.run(cases, [], nothing)


def test_mixed_precision_on_the_cpu_learns_too(plan, cases):
    settings = replace(QUICK, precision="mixed", iterations=20, validate_every=10, rate=1e-2)
    state = trainer_of(plan, settings, Schedule([("dice_ce", 20)])).run(cases, [], nothing)
    assert state.history[1].loss < state.history[0].loss


def test_the_global_generator_stays_untouched(plan, cases):
    torch.manual_seed(7)
    wanted = torch.rand(3)
    torch.manual_seed(7)
    trainer_of(plan).run(cases, [], nothing)
    assert torch.equal(torch.rand(3), wanted)


def test_the_running_mean_of_weights():
    average, network = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        average.weight.fill_(0.0)
        network.weight.fill_(1.0)
    update_average(average, network, 0.9, iteration=10**6)
    assert average.weight.item() == pytest.approx(0.1)
    update_average(average, network, 0.9, iteration=0)  # decay 1/10 at first
    assert average.weight.item() == pytest.approx(0.1 + 0.9 * 0.9)


def test_rates():
    cosine = TrainingSettings(iterations=100, rate=1.0, warmup=0)
    assert cosine.rate_at(0) == pytest.approx(1.0)
    assert cosine.rate_at(50) == pytest.approx(0.5)
    poly = replace(cosine, schedule="poly")
    assert poly.rate_at(50) == pytest.approx(0.5**0.9)
    warm = replace(cosine, schedule="constant", warmup=3)
    assert [warm.rate_at(n) for n in range(5)] == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])


@pytest.mark.parametrize(
    "wrong",
    [{"iterations": 0}, {"rate": 0.0}, {"ema": 1.0}, {"optimiser": "x"}, {"foreground": 2.0}],
)
def test_settings_without_meaning(wrong):
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        TrainingSettings(**wrong)


def test_rounds_as_text():
    assert parse_rounds("dice:20000, focal:10000") == (("dice", 20000), ("focal", 10000))
    for text in ("dice", "dice:0", "dice:5;focal:3"):
        with pytest.raises(SettingsError, match="--rounds"):
            parse_rounds(text)


def test_dice_by_hand():
    true = np.array([[1, 1, 2, 0]], np.uint8)
    found = np.array([[1, 0, 2, 2]], np.uint8)
    one, two, three = dice_per_class(found, true, 4)
    assert (one, two) == pytest.approx((2 / 3, 2 / 3))
    assert math.isnan(three)


class Threshold(nn.Module):
    """Says class 1 above 0.5 and class 2 above 1.5, voxel by voxel."""

    def __init__(self, divisor):
        super().__init__()
        self.divisor = divisor

    def forward(self, x):
        return torch.cat([0.5 - x, 1 - (x - 1).abs() * 2 + 0 * x, x - 1.5], dim=1) * 10


@pytest.mark.parametrize(
    ("shape", "patch", "dimensions"),
    [
        ((9, 11, 10), (8, 8, 8), 3),  # whole, padded
        ((19, 9, 21), (8, 8, 8), 3),  # window by window
        ((19, 6, 5), (8, 8, 1), 2),  # slice by slice
    ],
)
def test_every_voxel_gets_its_class(shape, patch, dimensions):
    plan = Plan(
        "x", {"a": 1, "b": 2}, (1.0,) * 3, patch, Intensity("image", 0, 100), dimensions=dimensions
    )
    wanted = np.random.default_rng(0).integers(0, 3, shape).astype(np.uint8)
    network = Threshold((4, 4, 4) if dimensions == 3 else (4, 4, 1)).eval()
    found = predict_classes(network, wanted.astype(np.float32), plan, CPU)
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_mixed_precision_and_resuming_on_cuda(plan, cases):
    device = torch.device("cuda")
    settings = replace(QUICK, precision="mixed", iterations=30, validate_every=10)
    trainer = trainer_of(plan, settings, Schedule([("dice_ce", 30)]), device)
    stored = []
    state = trainer.run(cases[:3], cases[3:], lambda _s: stored.append(pack(trainer, {})))
    assert all(math.isfinite(record.loss) for record in state.history)
    again = trainer_of(plan, settings, Schedule([("dice_ce", 30)]), device)
    unpack(stored[0], again, {})
    assert again.state.iteration == 10
    again.run(cases[:3], cases[3:], nothing)
    assert again.state.iteration == 30
