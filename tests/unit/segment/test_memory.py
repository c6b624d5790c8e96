"""What inference holds in memory, measured in processes of their own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "scripts/bench_segment.py"
PLANE = 192 * 192


def held_gb(planes: int, spacing_mm: float) -> float:
    """Peak above set-up and image, three classes, windows of 96."""
    flags = {"--patch": (96,) * 3, "--shape": (192, 192, planes), "--spacing-mm": (spacing_mm,)}
    words = [str(word) for flag, values in flags.items() for word in (flag, *values)]
    command = [sys.executable, str(SCRIPT), "--side", "medpipe", "--overlap", "0", *words]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)
    assert found["labels"] > 0
    return float(found["peak_gb"] - found["before_gb"])


@pytest.mark.slow
@pytest.mark.parametrize("spacing_mm", [0.8, 1.2])
def test_never_all_classes_of_the_whole_volume(spacing_mm):
    """A longer image costs less per voxel than its three probabilities alone: 12 bytes."""
    short, long = held_gb(300, spacing_mm), held_gb(600, spacing_mm)
    assert (long - short) * 1e9 / (300 * PLANE) < 6.0
