"""COCO files: what is read, dropped with a warning, or refused; and image augmentation."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

import coco_scene
from metamixer.data import CocoData, DetectionAugmentation, DetectionPreprocessing
from metamixer.data.detection.coco import read_coco_image
from metamixer.data.detection.coco_json import decode_mask, encode_mask, read_coco
from metamixer.data.detection.transforms import keep_visible, resize, wrap
from metamixer.errors import InputError, InputWarning

AS_THEY_ARE = DetectionPreprocessing(short_side=64, long_side=96)
UNCHANGED = DetectionAugmentation(short_sides=(64,), long_side=96, crop_probability=0.0, hflip=0.0)


@pytest.fixture
def data(tmp_path):
    coco_scene.write(tmp_path)
    return CocoData(
        str(tmp_path), **coco_scene.files(), num_workers=0, preprocessing=AS_THEY_ARE, augmentation=UNCHANGED
    )


def edit(tmp_path, change):
    """Write the scene with a changed json; return the path of the json."""
    told = coco_scene.content()
    path = coco_scene.write(tmp_path, told)
    change(told)
    path.write_text(json.dumps(told))
    return path


def read(path):
    return read_coco(path, path.parent / "images")


def test_reads_objects_with_classes_from_the_json(data):
    assert data.classes == ["box", "disc", "triangle"]
    assert data.category_ids == [3, 7, 20]
    image, target = data.training_dataset()[0]
    assert image.shape == (3, 64, 96)
    assert type(image) is torch.Tensor
    assert target["labels"].tolist() == [0, 1]
    assert target["boxes"].tolist() == [[6, 8, 30, 32], [46, 8, 76, 38]]
    for mask, box in zip(target["masks"], target["boxes"].int().tolist(), strict=True):
        rows, columns = mask.nonzero(as_tuple=True)
        assert [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] == pytest.approx(box, abs=1)
    assert 0.7 < target["masks"][1].sum() / 30**2 < 0.85  # a disc


def test_evaluation_sees_crowds_and_the_size_of_the_file(data):
    _, target = data.evaluation_dataset("val")[0]
    assert target["iscrowd"].tolist() == [0, 0, 1]
    assert target["size"].tolist() == [64, 96]
    assert target["masks"][2, :, 86:].all()
    assert not target["masks"][2, :, :86].any()


def test_images_without_objects_are_trained_on_by_default(data):
    assert len(data.training_dataset()) == 4
    _, target = data.training_dataset()[3]
    assert target["boxes"].shape == (0, 4)
    assert target["masks"].shape == (0, 64, 96)
    data.empty_images = False
    assert len(data.training_dataset()) == 3
    assert len(data.evaluation_dataset("val")) == 4


def test_batches_are_lists_in_the_order_of_the_seed(data):
    batches = [
        [tuple(target["labels"].tolist()) for _, targets in [batch] for target in targets]
        for batch in data.train_dataloader()
    ]
    again = [
        [tuple(target["labels"].tolist()) for _, targets in [batch] for target in targets]
        for batch in data.train_dataloader()
    ]
    assert batches == again
    images, targets = next(iter(data.val_dataloader()))
    assert [image.shape for image in images] == [(3, 64, 96)] * 2
    assert len(targets) == 2


def test_augmentation_moves_boxes_with_their_masks(data):
    torch.manual_seed(0)
    data.augmentation = DetectionAugmentation(
        short_sides=(48, 80),
        long_side=160,
        crop_probability=0.5,
        crop_short_sides=(64, 100),
        crop_range=(40, 60),
        hflip=0.5,
    )
    dataset = data.training_dataset()
    sizes = set()
    for _ in range(30):
        image, target = dataset[0]
        sizes.add(image.shape[1:])
        assert min(image.shape[1:]) in (48, 80) or max(image.shape[1:]) == 160
        assert target["masks"].shape[1:] == image.shape[1:]
        for mask, (x1, y1, x2, y2) in zip(target["masks"], target["boxes"].tolist(), strict=True):
            rows, columns = mask.nonzero(as_tuple=True)
            assert columns.min() >= x1 - 2
            assert columns.max() <= x2 + 1
            assert rows.min() >= y1 - 2
            assert rows.max() <= y2 + 1
    assert len(sizes) > 4


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (480, 640, (800, 1067)),
        (427, 640, (800, 1199)),
        (300, 640, (625, 1333)),
        (1333, 800, (1333, 800)),
        (1, 3000, (1, 1333)),
    ],
)
def test_sizes_are_the_published_ones(height, width, expected):
    image = torch.zeros(3, height, width, dtype=torch.uint8)
    assert resize({"image": image}, 800, 1333)["image"].shape[1:] == expected


def test_pixels_are_normalised_as_published():
    image = torch.randint(0, 256, (3, 64, 96), dtype=torch.uint8)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)))
    torch.testing.assert_close(AS_THEY_ARE(image), (image - mean) / std, rtol=1e-5, atol=1e-5)


def test_preprocessing_survives_a_checkpoint():
    preprocessing = DetectionPreprocessing(short_side=320, long_side=480)
    assert DetectionPreprocessing.from_dict(json.loads(json.dumps(preprocessing.as_dict()))) == preprocessing


def test_objects_outside_the_crop_are_dropped():
    boxes = torch.tensor([[0.0, 0, 5, 5], [3, 3, 3, 9], [1, 1, 4, 4]])
    masks = torch.zeros(3, 10, 10, dtype=torch.uint8)
    masks[:2, 2, 2] = 1
    sample = keep_visible(wrap(torch.zeros(3, 10, 10, dtype=torch.uint8), boxes, masks, torch.tensor([0, 1, 2])))
    assert sample["labels"].tolist() == [0]


def test_masks_survive_run_lengths():
    mask = np.random.RandomState(0).rand(13, 17) > 0.5
    assert np.array_equal(decode_mask(encode_mask(mask), mask.shape), mask)


OBJECT = "annotation 100: "


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bbox": [6, 8, 0, 24]}, r"bbox \[6, 8, 0, 24\], expected a width and height of at least 1 pixel"),
        ({"bbox": [6, 8, 24, -3]}, r"bbox \[6, 8, 24, -3\], expected a width and height"),
        ({"bbox": [200, 8, 24, 24]}, r"bbox \[200, 8, 24, 24\] in an image of 96x64, expected it to touch the image"),
        ({"bbox": [6, float("nan"), 24, 24]}, r"bbox \[6, nan, 24, 24\], expected four finite numbers"),
        ({"bbox": None}, "bbox None, expected four finite numbers"),
        ({"bbox": "abcd"}, "bbox 'abcd', expected four finite numbers"),
        ({"bbox": ["6", "8", "24", "24"]}, r"bbox \['6', '8', '24', '24'\], expected four finite numbers"),
        ({"bbox": [6, 8, 24, 10**400]}, r"bbox \[6, 8, 24, 10.*, expected four finite numbers"),
        ({"area": 0}, "area 0, expected a positive number"),
        ({"area": None}, "area None, expected a positive number"),
        ({"area": "576"}, "area '576', expected a positive number"),
        ({"iscrowd": "0"}, "iscrowd '0', expected 0 or 1"),
        ({"segmentation": [5]}, r"segmentation \[5\], expected run lengths or a polygon"),
        (
            {"segmentation": [["1", "2", "3", "4", "5", "6"]]},
            r"segmentation \[\['1', .*, expected run lengths or a polygon",
        ),
        (
            {"segmentation": [[200, 2, 230, 4, 205, 6]]},
            r"segmentation \[\[200, .*, expected run lengths or .* 3 points in the image",
        ),
        (
            {"segmentation": [[1, 2, 3, 4]]},
            r"segmentation \[\[1, 2, 3, 4\]\], expected run lengths or a polygon of at least 3 points",
        ),
        (
            {"segmentation": {"size": [64, 90], "counts": [64 * 90]}},
            r"run lengths of size \[64, 90\] in an image of \[64, 96\], expected the image's",
        ),
        (
            {"segmentation": {"size": 5, "counts": [64 * 96]}},
            r"run lengths of size 5 in an image of \[64, 96\], expected the image's",
        ),
        (
            {"segmentation": {"size": [64, 96], "counts": ["a"]}},
            r"run lengths \['a'\], expected a list of numbers, none of them negative",
        ),
        (
            {"segmentation": {"size": [64, 96], "counts": [-4, 6148]}},
            r"run lengths \[-4, 6148\], expected a list of numbers, none of them",
        ),
        ({"segmentation": {"size": [64, 96]}}, "run lengths None, expected a list of numbers"),
        (
            {"segmentation": {"size": [64, 96], "counts": [5, 5]}},
            "run lengths of 10 pixels in an image of 6144, expected as many",
        ),
    ],
)
def test_unusable_objects_are_dropped_with_a_warning(change, message, tmp_path):
    path = edit(tmp_path, lambda told: told["annotations"][0].update(change))
    with pytest.warns(
        InputWarning, match=f"objects.json: 1 of 7 annotations dropped, 0 without some.*\n  {OBJECT}{message}"
    ):
        told = read(path)
    assert [one.id for one in told.images[0].objects] == [101, 99]


@pytest.mark.parametrize("segmentation", [None, []])
def test_the_box_of_an_object_without_a_mask_is_its_mask(segmentation, tmp_path):
    path = edit(tmp_path, lambda told: told["annotations"][0].update(segmentation=segmentation, bbox=[6, 8, 24, 10]))
    with pytest.warns(InputWarning, match="objects.json: 1 of 7 annotations have no mask: their boxes serve as masks"):
        told = read(path)
    mask = decode_mask(told.images[0].objects[0].segmentation, (64, 96))
    assert mask.sum() == mask[8:18, 6:30].sum() == 24 * 10


@pytest.mark.parametrize("bad", [[1, 2, 3, 4], [200, 2, 230, 4, 205, 6], ["a"] * 6, None])
def test_an_invalid_polygon_is_dropped_and_a_valid_one_stays(bad, tmp_path):
    path = edit(tmp_path, lambda told: told["annotations"][0]["segmentation"].append(bad))
    with pytest.warns(
        InputWarning,
        match=rf"0 of 7 .*dropped, 1 without .*\n  {OBJECT}1 of 2 polygons, .*, expected at least 3 points",
    ):
        told = read(path)
    assert len(told.images[0].objects[0].segmentation) == 1
    assert decode_mask(told.images[0].objects[0].segmentation, (64, 96)).sum() == 24 * 24


def test_boxes_are_clipped_to_the_image(tmp_path):
    path = edit(tmp_path, lambda told: told["annotations"][0].update(bbox=[-4, -5, 30, 200]))
    assert read(path).images[0].objects[0].box == (0, 0, 26, 64)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda told: told["annotations"][0].update(category_id=4),
            "annotation 100: category_id 4, expected one of its 3 categories, such as 3",
        ),
        (
            lambda told: told["annotations"][0].update(image_id=5),
            "annotation 100: image_id 5, expected the id of one of its 4 images",
        ),
        (lambda told: told["images"][1].update(file_name="gone.png"), "image 11: .*gone.png: no such file"),
        (lambda told: told["images"][1].update(file_name=f"{'x' * 300}.png"), "image 11: .*x.png: no such file"),
        (
            lambda told: told["annotations"][0].update(category_id=[1]),
            r"annotation 100: category_id \[1\], expected a whole number",
        ),
        (
            lambda told: told["annotations"][0].update(image_id=[1]),
            r"annotation 100: image_id \[1\], expected a whole number",
        ),
        (lambda told: told["images"][1].update(width=None), "image 11: width None, expected a whole number of pixels"),
        (lambda told: told["images"][1].update(width="96"), "image 11: width '96', expected a whole number of pixels"),
        (lambda told: told["images"][1].update(height=0), "image 11: height 0, expected a whole number of pixels"),
        (lambda told: told["images"][1].update(file_name=None), "image 11: file_name None, expected a name"),
        (lambda told: told["images"][1].update(id="11"), "image '11': id '11', expected a whole number"),
        (
            lambda told: told.update(categories=[{"id": "3", "name": "a"}, *told["categories"]]),
            "category '3': id '3', expected a whole",
        ),
        (lambda told: told.update(categories=[]), "no categories, expected at least one"),
        (lambda told: told["annotations"].clear(), "no annotations, expected at least one"),
        (
            lambda told: told.pop("categories"),
            "no list 'categories', expected a COCO JSON file with images, annotations, categories",
        ),
        (
            lambda told: told["annotations"][0].pop("bbox"),
            "annotations entry .*, expected an object with id, image_id, category_id, bbox",
        ),
        (lambda told: told["images"][1].update(id=10), "an id occurs twice"),
    ],
)
def test_a_useless_file_is_refused(change, message, tmp_path):
    with pytest.raises(InputError, match=f"objects.json: {message}"):
        read(edit(tmp_path, change))


def test_the_warning_has_a_line_for_each_kind_of_fault(tmp_path):
    def spoil(told):
        for annotation in told["annotations"]:
            annotation["bbox"] = None
        told["annotations"][1]["bbox"] = [6, 8, 0, 24]

    with pytest.warns(InputWarning) as caught:
        read(edit(tmp_path, spoil))
    (warning,) = caught
    assert str(warning.message).splitlines()[1:] == [
        "  annotation 100, 102, 103, 104, 105 and 1 more: bbox None, expected four finite numbers",
        "  annotation 101: bbox [6, 8, 0, 24], expected a width and height of at least 1 pixel",
    ]


@pytest.mark.filterwarnings("ignore:.*annotations dropped")
def test_a_training_file_without_a_usable_object_is_refused(data, tmp_path):
    edit(
        tmp_path,
        lambda told: [annotation.update(bbox=None) for annotation in told["annotations"] if not annotation["iscrowd"]],
    )
    with pytest.raises(InputError, match=r"objects.json: 0 usable objects for training, expected at least one"):
        data.training_dataset()


def test_a_truncated_or_absent_json_is_refused(tmp_path):
    path = coco_scene.write(tmp_path)
    path.write_text(path.read_text()[:-200])
    with pytest.raises(InputError, match=r"objects.json: not readable as JSON \(.*\): truncated"):
        read(path)
    with pytest.raises(InputError, match=r"absent.json: no such file, expected a COCO JSON file"):
        read_coco(tmp_path / "absent.json", tmp_path / "images")


def test_an_image_of_another_size_is_refused(data, tmp_path):
    Image.new("RGB", (50, 40)).save(tmp_path / "images" / "000000000001.png")
    with pytest.raises(
        InputError, match=r"000000000001.png: 50x40 pixels, expected 96x64, the size of image 11 in the JSON file"
    ):
        data.training_dataset()[1]


def test_exif_orientation_is_applied(data, tmp_path):
    path, exif = tmp_path / "images" / "000000000001.png", Image.Exif()
    before = read_coco_image(data.annotations("val").images[1])
    exif[0x0112] = 6
    Image.open(path).transpose(Image.Transpose.ROTATE_90).save(path, exif=exif)
    assert torch.equal(read_coco_image(data.annotations("val").images[1]), before)


def test_run_lengths_that_cannot_be_decoded_are_refused(tmp_path):
    coco_scene.write(tmp_path)
    edit(tmp_path, lambda told: told["annotations"][0].update(segmentation={"size": [64, 96], "counts": "abc"}))
    data = CocoData(str(tmp_path), **coco_scene.files(), preprocessing=AS_THEY_ARE, augmentation=UNCHANGED)
    with pytest.raises(
        InputError, match=r"000000000000.png: annotation 100: its mask can't be decoded \(RLE string is malformed"
    ):
        data.training_dataset()[0]


@pytest.mark.parametrize(
    "categories",
    [
        [*coco_scene.CATEGORIES, {"id": 30, "name": "star"}],
        [{**each, "id": 50 - each["id"]} for each in coco_scene.CATEGORIES],
    ],
)
@pytest.mark.parametrize("split", ["train", "test"])
def test_all_splits_must_agree_on_the_categories(split, categories, data, tmp_path):
    told = coco_scene.content()
    objects = [{**each, "category_id": categories[0]["id"]} for each in told["annotations"]]
    (tmp_path / "other.json").write_text(json.dumps({**told, "categories": categories, "annotations": objects}))
    data.files[split] = (tmp_path / "images", tmp_path / "other.json")
    with pytest.raises(InputError, match=r"other.json and .*objects.json: different categories"):
        data.training_dataset() if split == "train" else data.evaluation_dataset(split)


def test_a_test_split_has_images_and_a_json(tmp_path):
    with pytest.raises(InputError, match="test_images test2017, test_annotations None, expected both or none"):
        CocoData(test_images="test2017")


def test_a_limit_leaves_an_image():
    for limit in (0, -1):
        with pytest.raises(InputError, match=f"limit {limit}, expected at least 1"):
            CocoData(limit=limit)
