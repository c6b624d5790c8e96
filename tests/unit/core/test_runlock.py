"""One run a folder; a killed run leaves no lock."""

import os
import signal
import subprocess
import sys

import pytest

from pipeline.errors import MedpipeError
from pipeline.runlock import claim

HOLD = "import sys, time; from pipeline.runlock import claim; l = claim(sys.argv[1]); print('held', flush=True); time.sleep(60)"  # noqa: E501


def test_a_second_run_is_refused_and_a_killed_one_is_forgotten(tmp_path):
    path = tmp_path / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(MedpipeError, match=f"process {holder.pid}"):
            claim(path)
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
    with claim(path):
        assert path.read_text(encoding="utf-8") == f"{os.getpid()}\n"
