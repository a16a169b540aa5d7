"""Segmentation data: what is read, augmented and refused."""

import struct
import zlib
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

from house_scene import COLOURS, MODEL, NARROW, data, task, trainer, write_scene
from metamixer.data import (
    DetectionAugmentation,
    DetectionPreprocessing,
    SegmentationAugmentation,
    SegmentationData,
    SegmentationPreprocessing,
)
from metamixer.data.images.colour import read_colour_image
from metamixer.data.images.deep_png import PNG_SIGNATURE, chunk
from metamixer.data.segmentation.label_maps import CLASS_LISTS, IGNORED_PIXEL, paint, read_classes
from metamixer.errors import DivergenceError, InputError
from metamixer.tasks import Segmentation
from metamixer.tasks.optimization.segmentation import SegmentationOptimization
from metamixer.training.own_data.pixels import read_mask


@pytest.fixture
def root(tmp_path):
    return write_scene(tmp_path)


def test_augmentation_moves_image_and_labels_together():
    torch.manual_seed(0)
    labels = torch.randint(0, 3, (10, 12), dtype=torch.uint8).repeat_interleave(8, 0).repeat_interleave(8, 1)
    image = (labels * 80).expand(3, -1, -1).contiguous()
    settings = SegmentationPreprocessing(mean=(0.0,) * 3, std=(1 / 255,) * 3)
    augment = SegmentationAugmentation(crop=(60, 160), scale=(1.0, 2.0), photometric=0.0)
    for _ in range(5):
        pixels, found = augment(image, labels, settings)
        assert (pixels.shape, found.shape, found.dtype) == ((3, 60, 160), (60, 160), torch.int64)
        seen = found != IGNORED_PIXEL
        assert (pixels[0][seen] / 80 - found[seen]).abs().median() < 0.05


def test_colours_change_but_not_their_order():
    torch.manual_seed(0)
    image = torch.tensor([200, 60, 30], dtype=torch.uint8).view(3, 1, 1).expand(3, 8, 8).contiguous()
    settings = SegmentationPreprocessing(mean=(0.0,) * 3, std=(1 / 255,) * 3)
    augment = SegmentationAugmentation(crop=(8, 8), scale=(1.0, 1.0), photometric=1.0)
    seen = torch.stack([augment(image, torch.zeros(8, 8, dtype=torch.uint8), settings)[0][:, 0, 0] for _ in range(40)])
    assert (seen[:, 0] > seen[:, 1:].amax(dim=1)).all()
    assert (seen.std(dim=0) > 5).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (lambda: SegmentationAugmentation(crop=(0, 512)), "augmentation.crop 0, 512, expected numbers above 0"),
        (
            lambda: SegmentationAugmentation(scale=(-1.0, -0.5)),
            "augmentation.scale -1.0, -0.5, expected numbers above 0",
        ),
        (lambda: SegmentationPreprocessing(window=0), "preprocessing.window 0, expected a number above 0"),
        (
            lambda: DetectionAugmentation(short_sides=()),
            "augmentation.short_sides of nothing, expected numbers above 0",
        ),
        (
            lambda: DetectionAugmentation(crop_range=(600, 384)),
            r"augmentation.crop_range \[600, 384\], expected two numbers",
        ),
        (lambda: DetectionPreprocessing(short_side=0), "preprocessing sides 0, 1333, expected numbers above 0"),
        (lambda: SegmentationPreprocessing(std=(0, 0, 0)), r"preprocessing.std \[0, 0, 0\], expected values above 0"),
        (
            lambda: SegmentationPreprocessing(mean=(0, 0)),
            "preprocessing.mean of 2 and std of 3 values, expected 3 of each",
        ),
        (lambda: DetectionPreprocessing(std=(0, 0, 0)), r"preprocessing.std \[0, 0, 0\], expected values above 0"),
        (
            lambda: DetectionPreprocessing(mean=(0, 0)),
            "preprocessing.mean of 2 and std of 3 values, expected 3 of each",
        ),
        (lambda: SegmentationOptimization(lr=0.0), "optimization.lr 0.0, expected a number above 0"),
        (lambda: Segmentation(scales=()), "model.scales of nothing, expected numbers above 0"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(InputError, match=message):
        settings()


def test_a_grey_picture_in_memory_is_refused_as_its_file_is():
    with pytest.raises(InputError, match=r"a gray image \(mode L\), expected color"):
        read_colour_image(Image.new("L", (8, 8)))


def test_a_crop_of_mostly_one_class_is_drawn_again():
    torch.manual_seed(0)
    labels = torch.zeros(100, 100, dtype=torch.uint8)
    labels[:, 80:] = 1
    augment = SegmentationAugmentation(crop=(20, 20), category_limit=0.75)
    shares = []
    for _ in range(20):
        top, left, height, width = augment.choose_box(labels, (100, 100))
        shares.append(labels[top : top + height, left : left + width].float().mean().item())
    assert sum(0.25 < share < 0.75 for share in shares) > 12


@pytest.mark.parametrize(
    ("name", "count", "values"), [("ade20k", 150, (1, 150)), ("cityscapes", 19, (7, 33)), ("camvid", 11, (0, 10))]
)
def test_known_class_lists(name, count, values):
    classes = read_classes(name)
    assert len(classes.names) == len(set(classes.names)) == len(classes.colours) == count
    assert (classes.values[0], classes.values[-1]) == values
    assert not set(classes.values) & set(classes.ignored)
    assert (CLASS_LISTS / f"{name}.yaml").is_file()


def test_cityscapes_names_and_numbers(tmp_path):
    for folder, ending, mode in (("leftImg8bit", "_leftImg8bit", "RGB"), ("gtFine", "_gtFine_labelIds", "L")):
        (tmp_path / folder / "aachen").mkdir(parents=True)
        Image.new(mode, (8, 6), 26 if mode == "L" else (1, 2, 3)).save(
            tmp_path / folder / "aachen" / f"a_0{ending}.png"
        )
    Image.new("L", (8, 6)).save(tmp_path / "gtFine" / "aachen" / "a_0_gtFine_color.png")
    endings = {"image_ending": "_leftImg8bit", "label_ending": "_gtFine_labelIds"}
    city = SegmentationData(str(tmp_path), "cityscapes", val_images="leftImg8bit", val_labels="gtFine", **endings)
    ((_, labels),) = city.evaluation_dataset("val")
    assert city.classes[labels.unique().item()] == "car"


def spoil_value(root):
    Image.fromarray(np.full((48, 64), 7, np.uint8)).save(root / "val_labels" / "0.png")


def spoil_size(root):
    Image.new("L", (64, 40)).save(root / "val_labels" / "0.png")


def spoil_missing(root):
    (root / "val_labels" / "0.png").unlink()


def spoil_empty(root):
    for path in (root / "val").iterdir():
        path.unlink()


def spoil_palette(root):
    paint(np.full((48, 64), 1, np.uint8), [COLOURS[1], COLOURS[0]]).save(root / "val_labels" / "0.png")


def spoil_mode(root):
    Image.new("RGB", (64, 48)).save(root / "val_labels" / "0.png")


def spoil_grey(root):
    Image.new("L", (64, 48)).save(root / "val" / "0.png")


def spoil_pixels(root):
    """A PNG whose header claims 20000 by 20000 pixels."""
    path = root / "val_labels" / "0.png"
    head = b"IHDR" + struct.pack(">2I5B", 20000, 20000, 8, 0, 0, 0, 0)
    path.write_bytes(path.read_bytes()[:12] + head + struct.pack(">I", zlib.crc32(head)) + path.read_bytes()[33:])


def spoil_file(root):
    path = root / "val_labels" / "0.png"
    path.write_bytes(path.read_bytes()[:60])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_value, r"val_labels/0\.png: label value 7, expected one of the 3 classes \(0 to 2\) or 9 \(ignored\)"),
        (spoil_size, r"val_labels/0\.png: 64x40 pixels, expected 64x48, the size of its image"),
        (spoil_missing, r"val_labels/0\.png: no such file, expected the labels of .*val/0\.png"),
        (spoil_empty, r"val: 0 images in this split"),
        (
            spoil_palette,
            r"val_labels/0\.png: wrong palette: value 1 has the color of sky \(10, 20, 200\), expected \(20, 160, "
            r"20\)",
        ),
        (spoil_mode, r"val_labels/0\.png: an image of mode RGB, expected a PNG of class numbers"),
        (spoil_grey, r"val/0\.png: a gray image \(mode L\), expected color"),
        (spoil_pixels, r"val_labels/0\.png: more than 178956970 pixels, expected fewer: make it smaller"),
        (spoil_file, r"val_labels/0\.png: not a readable image"),
    ],
)
def test_a_bad_file_is_named_with_its_value(root, spoil, message):
    spoil(root)
    with pytest.raises(InputError, match=message):
        list(data(root).evaluation_dataset("val"))


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_gray_labels_of_few_bits_are_the_stored_numbers(root, bits):
    path = root / "val_labels" / "0.png"
    labels = np.minimum(np.asarray(Image.open(path)) % 9, 2**bits - 1)
    write_gray_png(path, labels, bits)
    assert read_mask(path, labels.shape[::-1]).counts == Counter(labels.ravel().tolist())
    found = data(root).evaluation_dataset("val")[0][1]
    assert torch.equal(found, torch.from_numpy(labels.astype(np.int64)))


def write_gray_png(path, numbers, bits):
    """Write a gray PNG of 1, 2 or 4 bits, which Pillow can't write."""
    rows = np.unpackbits(numbers[..., None], axis=-1)[..., -bits:].reshape(len(numbers), -1)
    packed = np.packbits(rows, axis=1)
    filtered = np.hstack([np.zeros((len(packed), 1), np.uint8), packed])
    header = struct.pack(">2I5B", numbers.shape[1], len(numbers), bits, 0, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(filtered.tobytes())), chunk(b"IEND", b""))
    path.write_bytes(PNG_SIGNATURE + b"".join(parts))


def test_a_correct_palette_and_an_allowed_grayscale_image_are_accepted(root):
    labels = np.asarray(Image.open(root / "val_labels" / "0.png"))
    paint(labels, [*COLOURS, *[[0, 0, 0]] * 7]).save(root / "val_labels" / "0.png")
    spoil_grey(root)
    image, found = data(root, grey_images=True).evaluation_dataset("val")[0]
    assert image.shape == (3, 48, 64)
    assert torch.equal(found, torch.from_numpy(np.where(labels == 9, IGNORED_PIXEL, labels).astype(np.int64)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("classes: [{name: a}]", "classes.yaml: KeyError 'colour'"),
        ("classes: [{name: a, colour: [1, 2]}, {name: b, colour: [1, 2, 3]}]", "classes.yaml: ValueError"),
        ("classes: [{name: a, colour: [1, 2, 3]}]", "classes.yaml: 1 classes"),
        (
            "classes: [{name: a, colour: [0.5, 0.2, 0.1]}]",
            "classes.yaml: ValueError value 0.5, which is no",
        ),
        ("classes: [{name: a, colour: [1, 2, 3], value: 1.7}]", "classes.yaml: ValueError value 1.7, which is no"),
        (
            "classes: [{name: a, colour: [1, 2, 3]}, {name: b, colour: [1, 2, 3]}]\nignore_index: 1",
            r"values \[1\] twice",
        ),
        ("classes: {", "classes.yaml: "),
        (
            "classes: [{name: a, colour: [1, 2, 3]}, {name: a, colour: [1, 2, 4]}]",
            "classes.yaml: class 'a' twice, expected different",
        ),
        (None, "classes 'classes.yaml': no such file, expected a YAML file or one of ade20k, camvid, cityscapes"),
    ],
)
def test_bad_class_lists(text, message, tmp_path):
    if text:
        (tmp_path / "classes.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        read_classes("classes.yaml", tmp_path)


def test_refuses_numbers_that_do_not_fit(root):
    with pytest.raises(InputError, match="num_classes 4, expected 3, the data's number of classes"):
        trainer(root, max_epochs=1).fit(Segmentation(MODEL, 4, model_args=NARROW), data(root))
    with pytest.raises(InputError, match="class_weights of 2 numbers, expected 3"):
        task(class_weights=[1.0, 2.0])
    broken = task()
    torch.nn.init.constant_(broken.network.head.classifier.bias, float("nan"))
    with pytest.raises(DivergenceError, match=r"training loss is nan at step 0"):
        trainer(root, max_epochs=1).fit(broken, data(root))


def test_workers_get_decoded_images(root, monkeypatch):
    loader = data(root, num_workers=1, in_memory=True).train_dataloader()
    monkeypatch.setattr("metamixer.data.segmentation.pixels.read_colour_image", None)
    assert len([batch for _ in range(2) for batch in loader]) == 2


@pytest.mark.parametrize("orientation", [3, 6, 7])
def test_exif_orientation_is_applied(root, orientation):
    path, exif = root / "val" / "0.png", Image.Exif()
    before = data(root).evaluation_dataset("val")[0][0]
    exif[0x0112] = orientation
    turned = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE}[orientation]
    Image.open(path).transpose(turned).save(path, exif=exif)
    assert torch.equal(data(root).evaluation_dataset("val")[0][0], before)
    (root / "val" / "a folder.png").mkdir()
    assert len(data(root).evaluation_dataset("val")) == 2
    Image.new("RGB", (20, 10)).save(root / "odd.jpg", exif=b"Exif\0\0nonsense")
    assert read_colour_image(root / "odd.jpg").size == (20, 10)


def test_16_bit_grayscale_becomes_8_bit(root):
    values = np.arange(65536, step=1024, dtype=np.uint16).reshape(8, 8)
    Image.fromarray(values).save(root / "deep.png")
    assert np.array_equal(np.asarray(read_colour_image(root / "deep.png", grey_images=True))[:, :, 1], values >> 8)
    Image.fromarray(np.full((4, 4), 0.5, np.float32)).save(root / "float.tif")
    with pytest.raises(InputError, match=r"float.tif: mode F, whose white point is unknown, expected 8 or 16 bits"):
        read_colour_image(root / "float.tif", grey_images=True)
