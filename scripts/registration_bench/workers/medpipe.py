"""medpipe's own engines, in the program's environment.

The clock stands for what the other engines give: the map. The numeric inverse, the Jacobian and
the quality measures that `pipeline.registration.engine.register` adds are left out, as for them.
Options: ``engine``, and any field of `RegistrationSettings`.
"""

import os
from dataclasses import fields
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as cli.main does, before torch is loaded

import SimpleITK as sitk
import torch
from common import begin

from pipeline.io import read_mask, read_volume, write_field
from pipeline.registration.checks import check_pair
from pipeline.registration.engine import Pair, RegistrationSettings, load_engine


def main() -> None:
    """Register and write the field."""
    ask = begin()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(ask.threads)
    torch.set_num_threads(ask.threads)
    settings = _settings(ask.options)
    masks = [
        None if path is None else read_mask(Path(path))
        for path in (ask.fixed_compare, ask.moving_compare)
    ]
    pair = Pair(
        read_volume(Path(ask.fixed)),
        read_volume(Path(ask.moving)),
        fixed_compare=masks[0],
        moving_compare=masks[1],
    )
    check_pair(pair, settings)
    found = load_engine(ask.options["engine"])(pair, settings)
    write_field(Path(ask.field), found.displacement)


def _settings(options: dict[str, str]) -> RegistrationSettings:
    """Return the settings named among the options, of the type of their defaults."""
    chosen: dict[str, Any] = {}
    for field in fields(RegistrationSettings):
        if field.name in options:
            kind: Any = float if field.default is None else type(field.default)
            text = options[field.name]
            chosen[field.name] = text == "yes" if kind is bool else kind(text)
    return RegistrationSettings(**chosen)


if __name__ == "__main__":
    main()
