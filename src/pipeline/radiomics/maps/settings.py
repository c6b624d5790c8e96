"""What the maps can be told."""

from dataclasses import dataclass, field

from pipeline.errors import SettingsError
from pipeline.radiomics.engine.settings import TextureSettings


@dataclass(frozen=True)
class MapSettings:
    """Window and grey levels of the maps; PyRadiomics' names stand in brackets.

    Attributes
    ----------
    kernel_radius : int
        Voxels from the centre of the cubic window to its faces [kernelRadius].
    masked_kernel : bool
        Only voxels of the region count in a window, and set the grey levels; else all of the
        region's bounding box, widened by the radius [maskedKernel].
    init_value : float
        Outside the region [initValue].
    voxel_batch : int
        Voxels that PyRadiomics takes together, -1 for all [voxelBatch]. A window may have no
        pair along some direction. PyRadiomics leaves such a direction out of the means, but if
        another window of the batch has pairs there, GLCM's JointAverage becomes NaN, and MCC
        fails and keeps the initial value in the whole batch. With 1, the default, each voxel
        stands by itself and has all features that it can have.
    texture : TextureSettings
        Grey levels and neighbours.
    """

    kernel_radius: int = 1
    masked_kernel: bool = True
    init_value: float = 0.0
    voxel_batch: int = 1
    texture: TextureSettings = field(default_factory=TextureSettings)

    def __post_init__(self) -> None:
        """Refuse what has no meaning or no map."""
        if self.kernel_radius < 1:
            raise SettingsError(f"kernel_radius is {self.kernel_radius}; give 1 or more voxels")
        if self.voxel_batch == 0 or self.voxel_batch < -1:
            raise SettingsError(f"voxel_batch is {self.voxel_batch}; give -1 (all) or at least 1")
        texture = self.texture
        if texture.bin_count is None and not (texture.bin_width or 0) > 0:
            raise SettingsError(
                f"texture.bin_width is {texture.bin_width}; give a width above 0 or a bin count"
            )
        if texture.weighting != "none":
            raise SettingsError(
                f"texture.weighting is {texture.weighting!r}; maps take the mean over the "
                "directions, which is 'none'"
            )
        if not texture.symmetrical_glcm:
            raise SettingsError("texture.symmetrical_glcm is false; maps count pairs both ways")
