"""Registration engines side by side: `python -m scripts.registration_bench`.

Results are added to tables under --out; what is there already is not run again. The tables are
printed and written to registration.md.
"""

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path

from scripts.registration_bench.anatomies import ANATOMIES, data_root
from scripts.registration_bench.engines import ROOT, WORKERS
from scripts.registration_bench.lesions_run import run_lesions
from scripts.registration_bench.lesions_table import lesion_tables
from scripts.registration_bench.pairs_run import run_pairs
from scripts.registration_bench.real_pairs import PAIRS
from scripts.registration_bench.real_table import real_table
from scripts.registration_bench.variants import VARIANTS

_STUDIES = tuple(dict.fromkeys(pair.study for pair in PAIRS))


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(prog="registration_bench", description=__doc__)
    for name, known in (
        ("engines", WORKERS), ("anatomies", ANATOMIES), ("variants", VARIANTS), ("pairs", _STUDIES)
    ):  # fmt: skip
        parser.add_argument(
            f"--{name}", type=_subset(known), default=list(known),
            help=f"all (default), none, or some of {','.join(known)}",
        )  # fmt: skip
    parser.add_argument(
        "--quick", action="store_true", help="greedy and torch on the template that shrinks"
    )
    parser.add_argument("--again", action="store_true", help="also what is in the tables already")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/registration")
    asked = parser.parse_args()
    if asked.quick:
        asked.engines, asked.anatomies, asked.variants = ["greedy", "torch"], ["mni"], ["shrink"]
        asked.pairs = []
    lesions = run_lesions(
        asked.engines, asked.anatomies, asked.variants, asked.out, again=asked.again
    )
    pairs = run_pairs(asked.engines, asked.pairs, data_root(), asked.out, again=asked.again)
    text = "\n\n".join(
        [f"## Analytic lesions\n\n{lesion_tables(lesions)}"] * bool(lesions)
        + [f"## Real pairs\n\n{real_table(pairs)}"] * bool(pairs)
    )
    (asked.out / "registration.md").write_text(text + "\n")
    print(text)


def _subset(known: Iterable[str]) -> Callable[[str], list[str]]:
    """Return a parser of comma-separated names."""

    def parse(text: str) -> list[str]:
        names = {"all": list(known), "none": []}.get(text, text.split(","))
        unknown = sorted(set(names) - set(known))
        if unknown:
            raise argparse.ArgumentTypeError(f"there is no {', '.join(unknown)}")
        return names

    return parse


if __name__ == "__main__":
    main()
