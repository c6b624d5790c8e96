"""Time and peak memory of inference on a large CT: medpipe against MONAI's sliding window.

Both get the same made-up volume, network, window and overlap, each in a process of its own, and
take turns. The clock runs from the image in memory (int16) to the labels on its own grid; imports
and the making of the image do not count. What is compared is stated, not hidden: MONAI blends
logits of the whole volume and needs an arg-max after it; medpipe blends probabilities in slabs.

    python scripts/bench_segment.py    # 512x512x300, three classes, small network
    python scripts/bench_segment.py --network unet --patch 96 96 96 --shape 256 256 150
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from typing import Any

import numpy as np

_LIMIT_GB = 4.0


def main() -> None:
    """Run both sides in turns and print a table."""
    options = _options()
    if options.side:
        print(json.dumps(_measure(options)))
        return
    rounds: dict[str, list[dict[str, float]]] = {"medpipe": [], "monai": []}
    for _ in range(options.repeats):
        for side, found in rounds.items():
            found.append(_child(side))
    print("side      seconds (best)  of CPU (best)  peak GB  after set-up GB")
    for side, found in rounds.items():
        best = min(found, key=lambda one: one["seconds"])
        peak = max(one["peak_gb"] for one in found)
        cpu = min(one["cpu_seconds"] for one in found)
        print(
            f"{side:9} {best['seconds']:14.1f} {cpu:14.1f}  {peak:7.2f}  {best['before_gb']:15.2f}"
        )
    ours, theirs = (
        [min(one[what] for one in rounds[side]) for what in ("seconds", "cpu_seconds")]
        for side in ("medpipe", "monai")
    )
    differing = rounds["medpipe"][0]["labels"] - rounds["monai"][0]["labels"]
    peak = max(one["peak_gb"] for one in rounds["medpipe"])
    print(
        f"medpipe takes {ours[0] / theirs[0]:.2f} of MONAI's time "
        f"({ours[1] / theirs[1]:.2f} of its CPU time); "
        f"labelled voxels differ by {differing:+.0f} of {rounds['monai'][0]['labels']:.0f}"
    )
    print(
        f"peak of medpipe {peak:.2f} GB, limit {_LIMIT_GB:g} GB: "
        + ("met" if peak <= _LIMIT_GB else "missed")
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", type=int, nargs=3, default=(512, 512, 300))
    parser.add_argument("--patch", type=int, nargs=3, default=(128, 128, 128))
    parser.add_argument(
        "--spacing-mm", type=float, default=0.0, help="of the network; 0: the image's"
    )
    parser.add_argument("--overlap", type=float, default=0.5)
    parser.add_argument("--network", default="small", help="small, or a name of medpipe's networks")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--side", choices=("medpipe", "monai"), help=argparse.SUPPRESS)
    return parser.parse_args()


def _child(side: str) -> dict[str, float]:
    command = [sys.executable, __file__, *sys.argv[1:], "--side", side]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _measure(options: argparse.Namespace) -> dict[str, float]:
    import torch

    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    run = _medpipe if options.side == "medpipe" else _monai
    prepared = run(options)
    data = _image(tuple(options.shape))
    before = _peak_gb()
    started, worked = time.perf_counter(), time.process_time()
    labels = prepared(data)
    return {
        "seconds": time.perf_counter() - started,
        "cpu_seconds": time.process_time() - worked, "peak_gb": _peak_gb(), "before_gb": before,
        "labels": int(np.count_nonzero(labels)),
    }  # fmt: skip


def _image(shape: tuple[int, ...]) -> Any:
    """Return a body of soft tissue with two kinds of lesions, noise, air round it; int16 HU."""
    rng = np.random.default_rng(0)
    i, j, _ = np.ogrid[: shape[0], : shape[1], : shape[2]]
    body = ((i / shape[0] - 0.5) / 0.4) ** 2 + ((j / shape[1] - 0.5) / 0.3) ** 2 < 1
    data = np.full(shape, -1000, dtype=np.int16)
    for plane in range(shape[2]):
        noise = rng.normal(40.0, 15.0, shape[:2])
        data[..., plane] = np.where(body[..., 0], noise, -1000)
    a, b = shape[0] // 2, shape[1] // 2
    data[a - 40 : a, b - 30 : b + 30, shape[2] // 3 : shape[2] // 2] += 120
    data[a + 20 : a + 60, b - 30 : b + 30, shape[2] // 2 : shape[2] // 2 + 40] += 240
    return data


def _network(options: argparse.Namespace) -> Any:
    import torch
    from torch import nn

    if options.network != "small":
        from pipeline.segment.networks import build

        return build(options.network, channels=1, classes=3, options={}).eval()

    class Small(nn.Module):
        divisor, dimensions = (1, 1, 1), 3

        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(
                nn.Conv3d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv3d(4, 3, 3, padding=1)
            )

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layers(x)

    return Small().eval()


def _medpipe(options: argparse.Namespace) -> Any:
    from pipeline.segment.plan import Intensity, Plan
    from pipeline.segment.predict import PredictSettings, predict
    from pipeline.segment.trained import Model
    from pipeline.types import Geometry, Volume

    spacing = options.spacing_mm or 0.8
    plan = Plan(
        options.network, {"a": 1, "b": 2}, (spacing,) * 3, tuple(options.patch),
        Intensity("dataset", -1000.0, 400.0, 0.0, 300.0),
    )  # fmt: skip
    grid = Geometry(tuple(options.shape), (0.8,) * 3, (0.0,) * 3, np.diag([1.0, -1.0, 1.0]))
    model = Model(plan, _network(options), {}, "bench")
    settings = PredictSettings(overlap=options.overlap)
    return lambda data: predict(Volume(data, grid), [model], settings).labels.data


def _monai(options: argparse.Namespace) -> Any:
    import torch
    from monai.inferers import sliding_window_inference

    network = _network(options)

    def run(data: Any) -> Any:
        values = torch.from_numpy(data).to(torch.float32).clamp_(-1000.0, 400.0).div_(300.0)
        with torch.inference_mode():
            logits = sliding_window_inference(
                values[None, None], tuple(options.patch), 1, network, overlap=options.overlap,
                mode="gaussian", sigma_scale=0.125,
            )  # fmt: skip
            return logits.argmax(dim=1)[0].to(torch.uint8).numpy()

    return run


def _peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


if __name__ == "__main__":
    main()
