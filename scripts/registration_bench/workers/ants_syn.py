"""ANTs SyN with local cross-correlation (antspyx), radius 4.

Options: ``iterations`` (default "40x20x0", ANTsPy's own).
"""

import ants
from common import begin


def main() -> None:
    """Register and write the field of the whole chain."""
    ask = begin()
    fixed, moving = ants.image_read(ask.fixed), ants.image_read(ask.moving)
    steps = tuple(int(n) for n in ask.options.get("iterations", "40x20x0").split("x"))
    masks = {}
    if ask.fixed_compare:
        masks["mask"] = ants.image_read(ask.fixed_compare)
    if ask.moving_compare:
        masks["moving_mask"] = ants.image_read(ask.moving_compare)
    start = {} if ask.affine else {"initial_transform": "Identity"}
    found = ants.registration(
        fixed, moving, type_of_transform="SyN" if ask.affine else "SyNOnly", syn_metric="CC",
        syn_sampling=4, reg_iterations=steps, outprefix=ask.scratch("ants_"),
        **start, **masks,
    )  # fmt: skip
    whole = ants.apply_transforms(
        fixed, moving, found["fwdtransforms"], compose=ask.scratch("composed_")
    )
    ants.image_write(ants.image_read(whole), ask.field)


if __name__ == "__main__":
    main()
