"""The memory that a large CT takes, measured in a process of its own."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "scripts/bench_radiomics.py"


@pytest.mark.slow
def test_a_large_ct_with_every_image_type_stays_below_1_gb():
    """512 x 512 x 300 voxels of int16 are 157 MB; a single float64 copy would be 629 MB more."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "memory"],
        capture_output=True, text=True, check=True, cwd=SCRIPT.parents[1], timeout=600,
    )  # fmt: skip
    found = re.search(r"every image type: (\d+) MiB", done.stdout)
    assert found, done.stdout
    assert int(found[1]) <= 953  # 1 GB
