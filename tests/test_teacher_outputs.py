"""A teacher's outputs: the crops that they belong to, the cache that keeps them, and how they are mixed and matched."""

import numpy as np
import pytest
import torch
from PIL import Image

from metamixer.data.images.outputs import OutputCache
from metamixer.data.images.views import ViewedImages, Views, box_of
from metamixer.data.preprocessing import Preprocessing
from metamixer.errors import InputError
from metamixer.tasks.distillation import FeatureMatching, mixed_logits
from metamixer.tasks.distilled_classification import mixed_images


def test_a_spoiled_cache_is_named(tmp_path):
    crops = Views(count=1).draw(3)
    OutputCache(tmp_path, {"teacher": "a"}, crops, [2])
    (tmp_path / "known.npy").write_bytes(b"no array")
    with pytest.raises(InputError, match=r"known.npy: can't be read \(.*\), expected an array"):
        OutputCache(tmp_path, {"teacher": "a"}, crops, [2])
    (tmp_path / "about.json").write_text("{")
    with pytest.raises(InputError, match=r"about.json: can't be read"):
        OutputCache(tmp_path, {"teacher": "a"}, crops, [2])


def test_outputs_that_cannot_be_kept_are_refused(tmp_path):
    crops = Views(count=1).draw(3)
    cache = OutputCache(tmp_path, {}, crops, [2, 4])
    for wrong in (1e5, float("nan")):
        with pytest.raises(
            InputError, match=r"the teacher's outputs reach (1e\+05|nan), expected finite ones up to 65504"
        ):
            cache(torch.tensor([1]), lambda places, wrong=wrong: [torch.full((1, 2), wrong), torch.zeros(1, 4)])
    assert not cache.known.any()
    cache(torch.tensor([1]), lambda places: [torch.ones(1, 2), torch.zeros(1, 4)])
    (tmp_path / "output_1.npy").unlink()
    with pytest.raises(InputError, match=r"no output_1.npy for the views that are known: remove the folder"):
        OutputCache(tmp_path, {}, crops, [2, 4])


def test_processes_share_a_cache(tmp_path):
    crops = Views(count=1).draw(3)
    one, other = (OutputCache(tmp_path, {}, crops, [2]) for _ in range(2))
    one(torch.tensor([0, 2]), lambda places: [torch.tensor([[1.0, 2.0], [3.0, 4.0]])])
    assert torch.equal(other(torch.tensor([2]), None)[0], torch.tensor([[3.0, 4.0]]))


def test_outputs_belong_to_their_views(tmp_path):
    cache = OutputCache(tmp_path, {}, Views(count=2).draw(4), [2])
    asked = []

    def compute(places):
        asked.append(places.tolist())
        return [places[:, None] + torch.tensor([[0.0, 0.5]])]

    first = cache(torch.tensor([6, 1, 3]), compute)[0]
    second = cache(torch.tensor([3, 6, 0]), compute)[0]
    assert asked == [[0, 1, 2], [2]]
    assert torch.equal(second[:2], first[[2, 0]])
    reopened = OutputCache(tmp_path, {}, Views(count=2).draw(4), [2])
    assert torch.equal(reopened(torch.tensor([0, 1, 3, 6]), compute)[0][1:], first[[1, 2, 0]])


def test_views_are_crops_of_the_asked_area_and_stay_the_same():
    views = Views(count=3, scale=(0.25, 0.5), hflip=0.5, seed=1)
    crops = views.draw(500)
    left, upper, right, lower, mirrored = crops.T
    area = (right - left) * (lower - upper)
    assert crops.shape == (1500, 5)
    assert left.min() >= 0 and upper.min() >= 0 and right.max() <= 1 + 1e-6 and lower.max() <= 1 + 1e-6
    assert area.min() >= 0.25 - 1e-4
    assert area.max() <= 0.5 + 1e-4
    assert 0.4 < mirrored.mean() < 0.6
    assert np.array_equal(crops, views.draw(500))


def test_a_view_shows_its_part_of_the_image():
    image = Image.fromarray(
        np.repeat(np.arange(0, 200, 2, dtype=np.uint8)[None, :, None], 100, axis=0).repeat(3, axis=2)
    )
    plain = Preprocessing(size=50, mean=(0.0,) * 3, std=(1.0,) * 3, interpolation="bilinear")
    viewed = ViewedImages([(image, 0)], np.zeros((1, 5), np.float32), count=1, preprocessing=plain)
    right = viewed.view(image, np.array([0.5, 0.25, 1.0, 0.75, 0]))
    mirrored = viewed.view(image, np.array([0.5, 0.25, 1.0, 0.75, 1]))
    assert right[0, 0, 0] == pytest.approx(100 / 255, abs=0.01)
    assert torch.equal(mirrored, right.flip(2))


def test_views_of_wide_images_are_not_squashed():
    crops = Views(count=200).draw(1)
    boxes = np.array([box_of(crop, (640, 360)) for crop in crops])
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    wanted = (crops[:, 2] - crops[:, 0]) / (crops[:, 3] - crops[:, 1])
    assert np.allclose(width / height, wanted, rtol=1e-5)
    assert boxes.min() >= 0 and boxes[:, 2].max() <= 640 and boxes[:, 3].max() <= 360
    assert boxes[:, 0].min() < 20 and boxes[:, 2].max() > 620, "both ends of the image are seen"
    assert np.allclose([box_of(crop, (50, 50)) for crop in crops], 50 * crops[:, :4], atol=1e-3)


def test_features_that_a_projection_explains_cost_nothing():
    student, teacher = torch.randn(6, 4), torch.randn(6, 9)
    matching = FeatureMatching([4], [9])
    with torch.no_grad():
        matching.projections[0].weight.copy_(torch.randn(9, 4))
        matching.projections[0].bias.zero_()
        explained = 3 * matching.projections[0](student)
    assert matching([student], [explained]).item() == pytest.approx(0, abs=1e-6)
    assert matching([student], [teacher]) > 0.1


@pytest.mark.parametrize(("mixup", "cutmix"), [(1.0, 0.0), (0.0, 1.0)])
def test_outputs_are_mixed_as_the_images_are(mixup, cutmix):
    np.random.seed(0)
    shades = torch.rand(5, 1)
    images, shares = mixed_images(shades[:, :, None, None].expand(5, 1, 8, 8).clone(), mixup, cutmix)
    assert shares.shape == (4, 5), "the last image has no partner"
    assert (shares > 0).sum() > 4
    torch.testing.assert_close(images.mean(dim=(2, 3)), shares @ shades)
    logits = torch.randn(5, 3)
    mixed = mixed_logits(logits, shares, tau=2.0)
    torch.testing.assert_close((mixed / 2).softmax(dim=1), shares @ (logits / 2).softmax(dim=1))
    assert mixed_logits(torch.tensor([[1000.0, 0.0]]), torch.ones(1, 1), tau=1.0).isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_outputs_are_mixed_in_float32(dtype):
    shares, logits = torch.tensor([[0.3, 0.7]]), torch.tensor([[30.0, 0.0], [0.0, -30.0]])
    exact = mixed_logits(logits, shares, tau=1.0)
    with torch.autocast("cpu", dtype):
        torch.testing.assert_close(mixed_logits(logits, shares, tau=1.0), exact, rtol=0, atol=0)
    assert exact.isfinite().all()


def test_one_image_cannot_be_mixed():
    with pytest.raises(InputError, match="a training batch of 1 image, expected at least 2"):
        mixed_images(torch.rand(1, 3, 8, 8), 0.0, 1.0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ratio": (0.0, 1.0)}, "views.ratio 0.0, 1.0, expected numbers above 0"),
        ({"scale": (-1.0, 1.0)}, "views.scale -1.0, 1.0, expected numbers above 0"),
        ({"hflip": 3.0}, r"views.hflip 3.0, expected"),
    ],
)
def test_views_are_judged(settings, message):
    with pytest.raises(InputError, match=message):
        Views(**settings)


def test_the_number_of_views_is_judged():
    with pytest.raises(InputError, match=r"views\.count 1000000000, expected at most 10000"):
        Views(count=10**9)
