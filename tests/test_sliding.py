"""Sliding windows over an image: results and memory."""

import gc

import pytest
import torch
from torch.nn import functional as F

from metamixer.data import SegmentationPreprocessing
from metamixer.inference.sliding import COLUMNS, label_map, probabilities, resized_argmax, tiles, whole


class Local(torch.nn.Module):
    """Logits that depend on the pixel and, weakly, on its place in the window."""

    def forward(self, x):
        position = torch.linspace(0, 1, x.shape[3]) * 0.1
        return torch.cat([x, -x], dim=1) + position


@pytest.mark.parametrize(("window", "stride"), [(None, None), (16, 12), (16, 16), (20, 7), (64, 48), (10, 2)])
@pytest.mark.parametrize(("height", "width"), [(37, 50), (16, 203), (90, 20)])
def test_a_pixel_is_the_mean_of_its_windows(window, stride, height, width):
    image = torch.randn(3, height, width)
    side, step = window or max(height, width), stride or window or max(height, width)
    total, count = torch.zeros(6, height, width), torch.zeros(height, width)
    for y in range(0, max(height - side + step, 1), step):
        for x in range(0, max(width - side + step, 1), step):
            top, left = max(min(y, height - side), 0), max(min(x, width - side), 0)
            total[:, top : top + side, left : left + side] += Local()(
                image[None, :, top : top + side, left : left + side]
            )[0]
            count[top : top + side, left : left + side] += 1
    found = list(tiles(Local(), image, window=window, stride=stride))
    assert sum(logits[0].numel() for _, _, logits in found) == height * width
    torch.testing.assert_close(whole(found, (height, width)), total / count)
    assert all(max(logits.shape[1:]) <= side for _, _, logits in found)


def held():
    """Bytes of all tensors created since gc.freeze()."""
    storages = [one.untyped_storage() for one in gc.get_objects() if type(one) is torch.Tensor]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


def peak(height, width):
    """Peak bytes of tensors while an image is labeled, except for the result's one byte per pixel."""
    found = []

    def network(x):
        found.append(held())
        return Local()(x)

    picture = torch.zeros(1, 1, 1, dtype=torch.uint8).expand(3, height, width)
    gc.collect()
    gc.freeze()
    label_map(network, picture, SegmentationPreprocessing(window=64, stride=48))
    gc.unfreeze()
    return max(found) - height * width


def test_memory_grows_with_neither_side_of_the_image():
    some = peak(208, 48 * 2 * COLUMNS + 16)
    assert peak(208, 48 * 6 * COLUMNS + 16) < 1.1 * some
    assert peak(48 * 6 * COLUMNS + 16, 208) < 1.1 * some


def test_scales_and_mirrored_images_are_averaged():
    image = torch.randint(0, 256, (3, 20, 30), dtype=torch.uint8)
    settings = SegmentationPreprocessing()
    plain = probabilities(lambda x: x, image, settings)
    torch.testing.assert_close(probabilities(lambda x: x, image, settings, flip=True), plain)
    many = probabilities(lambda x: x, image, settings, scales=(0.5, 1.0, 2.0), flip=True)
    assert many.shape == (3, 20, 30)
    torch.testing.assert_close(many.sum(dim=0), torch.ones(20, 30))
    assert (many - plain).abs().max() > 1e-3


def test_labels_have_the_size_of_the_image():
    logits = torch.randn(20, 6, 9)
    expected = F.interpolate(logits[None], (17, 31), mode="bilinear", align_corners=False)[0].argmax(dim=0)
    assert torch.equal(resized_argmax(logits, (17, 31)), expected.to(torch.uint8))
    image = torch.randint(0, 256, (3, 40, 60), dtype=torch.uint8)
    assert label_map(lambda x: x, image, SegmentationPreprocessing(short_side=16)).shape == (40, 60)
