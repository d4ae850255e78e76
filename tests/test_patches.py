import pytest
import torch

from vitbook import patchify, unpatchify


def test_patches_run_row_by_row_and_hold_channel_row_column():
    image = torch.arange(2 * 4 * 6).reshape(1, 2, 4, 6)
    patches = patchify(image, 2)
    assert patches.shape == (1, 6, 8)
    second_right = image[0, :, 0:2, 2:4].flatten()
    first_below = image[0, :, 2:4, 0:2].flatten()
    assert torch.equal(patches[0, 1], second_right)
    assert torch.equal(patches[0, 3], first_below)


@pytest.mark.parametrize(
    "shape, p", [((2, 3, 32, 32), 4), ((1, 1, 8, 24), 8), ((3, 2, 5, 7), 1)]
)
def test_round_trip_is_exact(shape, p):
    images = torch.randn(shape)
    grid = (shape[2] // p, shape[3] // p)
    assert torch.equal(unpatchify(patchify(images, p), p, grid), images)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_projection_of_patches_is_a_strided_convolution(dtype):
    convolution = torch.nn.Conv2d(3, 8, kernel_size=4, stride=4).to(dtype)
    images = torch.randn(2, 3, 16, 24, dtype=dtype)
    ours = patchify(images, 4) @ convolution.weight.flatten(1).T + convolution.bias
    theirs = convolution(images).flatten(2).transpose(1, 2)
    torch.testing.assert_close(ours, theirs)


def test_refusals_say_what_fits():
    with pytest.raises(ValueError, match=r"side 5 do not tile a 32×32.*\[1, 2, 4, 8, 16, 32\]"):
        patchify(torch.zeros(1, 3, 32, 32), 5)
    with pytest.raises(ValueError, match=r"side 0 do not tile"):
        patchify(torch.zeros(1, 3, 32, 32), 0)
    with pytest.raises(ValueError, match=r"batch, channel, height, width.*images\[None\]"):
        patchify(torch.zeros(3, 32, 32), 4)
