"""Run a command and write its wall time, CPU time and peak memory: measure.py REPORT COMMAND...

A process of its own and small, for Linux counts the memory of the process that starts a command
into that command's peak.
"""

import json
import os
import sys
import time


def main() -> int:
    """Return the exit status of the command."""
    report, *command = sys.argv[1:]
    begin = time.monotonic()
    child = os.posix_spawn(command[0], command, os.environ)
    _, status, used = os.wait4(child, 0)
    measured = {
        "begin": begin,
        "end": time.monotonic(),
        "cpu_s": used.ru_utime + used.ru_stime,
        "peak_mib": used.ru_maxrss / 1024,
    }
    with open(report, "w") as file:
        json.dump(measured, file)
    return os.waitstatus_to_exitcode(status) and 1


if __name__ == "__main__":
    sys.exit(main())
