import pytest
import torch
from monai.networks.blocks import Convolution
from monai.networks.nets.highresnet import HighResBlock
from monai.networks.utils import pixelshuffle, pixelunshuffle

from pipeline.errors import GeometryError
from pipeline.segment.networks.blocks import (
    ResidualBlock,
    batch_relu,
    depth_to_space,
    space_to_depth,
)


@pytest.mark.parametrize(("factor", "shape"), [(2, (4, 6, 8)), (3, (3, 6, 9))])
def test_duc_undoes_ddc_exactly(factor, shape):
    x = torch.randn(2, 5, *shape)
    there = space_to_depth(x, factor)
    assert there.shape == (2, 5 * factor**3, *(n // factor for n in shape))
    assert torch.equal(depth_to_space(there, factor), x)
    back = torch.randn(2, 2 * factor**3, *shape)
    assert torch.equal(space_to_depth(depth_to_space(back, factor), factor), back)


def test_ddc_of_the_published_patch():
    x = torch.empty(1, 8, 48, 192, 192, device="meta")
    assert space_to_depth(x).shape == (1, 64, 24, 96, 96)
    assert depth_to_space(space_to_depth(x)).shape == x.shape


def test_ddc_by_hand():
    # Voxels 0 to 7 of a cube of 2x2x2, the last axis first, become eight channels.
    x = torch.arange(16.0).reshape(1, 2, 2, 2, 2)
    assert space_to_depth(x).flatten().tolist() == list(range(16))
    # On a grid of 4x2x2, the cubes lie one behind the other along the first axis.
    line = torch.arange(16.0).reshape(1, 1, 4, 2, 2)
    assert space_to_depth(line)[0, :, 0, 0, 0].tolist() == list(range(8))
    assert space_to_depth(line)[0, :, 1, 0, 0].tolist() == list(range(8, 16))


def test_ddc_and_duc_are_monais_pixel_shuffles():
    x = torch.randn(2, 3, 4, 4, 6)
    torch.testing.assert_close(space_to_depth(x), pixelunshuffle(x, 3, 2), rtol=0, atol=0)
    packed = torch.randn(2, 16, 3, 2, 4)
    torch.testing.assert_close(depth_to_space(packed), pixelshuffle(packed, 3, 2), rtol=0, atol=0)


def test_what_cannot_be_rearranged_is_refused():
    with pytest.raises(GeometryError, match="not divisible by 2"):
        space_to_depth(torch.zeros(1, 1, 4, 5, 4))
    with pytest.raises(GeometryError, match="12 channels: not divisible by 8"):
        depth_to_space(torch.zeros(1, 12, 4, 4, 4))


@pytest.mark.parametrize(("inputs", "outputs"), [(4, 4), (4, 8), (3, 8)])
@pytest.mark.parametrize("shortcut", ["pad", "project"])
def test_a_residual_block_is_monais(inputs, outputs, shortcut):
    """The same weights in both give the same map; MONAI has one dilation per block."""
    torch.manual_seed(0)
    ours = ResidualBlock(inputs, outputs, (2, 2), batch_relu, shortcut)
    theirs = HighResBlock(3, inputs, outputs, dilation=2, channel_matching=shortcut)
    filters = [m for m in ours.modules() if isinstance(m, torch.nn.Conv3d)]
    expected = [m.conv for m in theirs.layers if isinstance(m, Convolution)]
    if shortcut == "project" and inputs != outputs:
        expected.append(theirs.chn_pad.project)
    assert len(filters) == len(expected)
    for mine, other in zip(filters, expected, strict=True):
        other.load_state_dict(mine.state_dict(), strict=False)
        if other.bias is not None:
            torch.nn.init.zeros_(other.bias)
    x = torch.randn(2, inputs, 6, 7, 8)
    torch.testing.assert_close(ours(x), theirs(x))


def test_padded_channels_lie_around_those_of_the_input():
    block = ResidualBlock(2, 5, (1,), batch_relu)
    for parameter in block.parameters():
        torch.nn.init.zeros_(parameter)
    x = torch.randn(1, 2, 3, 3, 3)
    found = block(x)
    assert torch.equal(found[:, 1:3], x)
    assert not found[:, [0, 3, 4]].any()
