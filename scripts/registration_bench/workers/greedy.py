"""greedy (picsl-greedy): affine by NCC where asked, then deformable.

Options: ``metric`` (default "NCC 2x2x2"), ``iterations`` (default "100x70x40").
"""

from common import begin
from picsl_greedy import Greedy3D


def main() -> None:
    """Register and write the composed warp at full precision (-wp 0)."""
    ask = begin()
    metric = ask.options.get("metric", "NCC 2x2x2")
    iterations = ask.options.get("iterations", "100x70x40")
    masks = f" -gm {ask.fixed_compare}" if ask.fixed_compare else ""
    masks += f" -mm {ask.moving_compare}" if ask.moving_compare else ""
    pair = f"-d 3 -threads {ask.threads} -m {metric} -i {ask.fixed} {ask.moving}{masks}"
    greedy = Greedy3D()
    start = ""
    if ask.affine:
        affine = ask.scratch("affine.mat")
        greedy.execute(f"{pair} -a -dof 12 -ia-image-centers -n {iterations} -o {affine}")
        start = f"-it {affine}"
    warp = ask.scratch("warp.nii") if ask.affine else ask.field
    greedy.execute(f"{pair} {start} -n {iterations} -wp 0 -o {warp}")
    if ask.affine:
        greedy.execute(f"-d 3 -rf {ask.fixed} -wp 0 -r {warp} {affine} -rc {ask.field}")


if __name__ == "__main__":
    main()
