"""Print, by family, how many of IBSI's reference values we match.

For the digital phantom and each configuration of the CT phantom whose reference file is there:

    python scripts/ibsi_table.py ../shared/data/ibsi

Tolerances are those of the files. Every value that is off or missing is named; the exit code is 1
when there is one.
"""

import sys
import time
from pathlib import Path

from pipeline.io import read_mask, read_volume
from pipeline.radiomics.ibsi.agreement import by_family, parse_reference
from pipeline.radiomics.ibsi.measure import measure
from pipeline.radiomics.ibsi.settings import CONFIGURATIONS, DIGITAL_PHANTOM, IbsiSettings

_CASES: dict[str, tuple[str, str, IbsiSettings]] = {
    "digital phantom": ("digital_phantom", "ibsi_1_dig_phantom.csv", DIGITAL_PHANTOM)
} | {
    f"configuration {name}": ("ct_phantom", f"ibsi_1_chest_config_{name.lower()}.csv", settings)
    for name, settings in CONFIGURATIONS.items()
}

_HEAD = f"  {'family':<36}{'stated':>8}{'matched':>9}{'off':>5}{'missing':>9}{'no value':>10}"


def table(folder: Path) -> int:
    """Print the table and return how many values are off or missing."""
    wrong = 0
    for name, (phantom, reference, settings) in _CASES.items():
        path = folder / "reference" / reference
        if not path.is_file():
            print(f"\n{name}: no {path.name} here")
            continue
        image = read_volume(folder / phantom / "image/phantom.nii.gz")
        mask = read_mask(folder / phantom / "mask/mask.nii.gz")
        start = time.process_time()
        values = measure(image, mask, settings).values
        seconds = time.process_time() - start
        rows = by_family(parse_reference(path.read_text()), values)
        print(f"\n{name}: {len(values)} values in {seconds:.2f} CPU seconds")
        print(
            f"  {'family':<36}{'stated':>8}{'matched':>9}{'off':>5}{'missing':>9}{'no value':>10}"
        )
        for row in rows:
            print(
                f"  {row.family:<36}{row.stated:>8}{row.matched:>9}{len(row.off):>5}"
                f"{len(row.missing):>9}{row.without_value:>10}"
            )
            for tag in (*row.off, *row.missing):
                print(f"    {tag}: {values.get(tag, 'not computed')}")
        total = sum(row.stated for row in rows), sum(row.matched for row in rows)
        print(f"  {'all':<36}{total[0]:>8}{total[1]:>9}")
        wrong += sum(len(row.off) + len(row.missing) for row in rows)
    return wrong


if __name__ == "__main__":
    sys.exit(1 if table(Path(sys.argv[1] if len(sys.argv) > 1 else "../shared/data/ibsi")) else 0)
