"""Labeled images from every kind of store: a folder per class, a Hugging Face data set, WebDataset shards."""

import io
import json
import sys
import tarfile
import warnings
from dataclasses import replace
from itertools import chain
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import IterableDataset

from metamixer.data import Augmentation, ImageData, Preprocessing
from metamixer.data.images import reading
from metamixer.data.images.reading import LabelledImages, is_grey, read_image
from metamixer.data.images.shards import ShardReader
from metamixer.errors import InputError, InputWarning
from metamixer.training.run_sheet import spread

COLOURS = {"blue": (20, 40, 220), "green": (30, 200, 40), "red": (210, 30, 20)}
EACH = 6
PLAIN = Augmentation(scale=(0.9, 1.0), hflip=0.0, color_jitter=0.0, auto_augment=None, random_erasing=0.0)


def images_of(split):
    """(class number, file name, PNG bytes) of every image of a split."""
    for number, (name, colour) in enumerate(COLOURS.items()):
        for i in range(EACH if split == "train" else EACH // 2):
            file = io.BytesIO()
            Image.new("RGB", (40, 36), tuple(min(value + 5 * i, 255) for value in colour)).save(file, "png")
            yield number, f"{name}/{i}.png", file.getvalue()


def write_folder(root):
    for split in ("train", "validation"):
        for _, name, content in images_of(split):
            path = root / split / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def write_shards(root):
    """Two shards per split in the format of webdataset, with their description."""
    root.mkdir()
    splits = {}
    for split in ("train", "validation"):
        samples = list(images_of(split))
        names, lengths = [], []
        for shard in range(2):
            names.append(f"colours-{split}-{shard}.tar")
            with tarfile.open(root / names[-1], "w") as archive:
                for number, name, content in samples[shard::2]:
                    key = name.replace("/", "_").removesuffix(".png")
                    for suffix, value in (("png", content), ("cls", str(number).encode())):
                        member = tarfile.TarInfo(f"{key}.{suffix}")
                        member.size = len(value)
                        archive.addfile(member, io.BytesIO(value))
            lengths.append(len(samples[shard::2]))
        splits[split] = {"name": split, "num_samples": len(samples), "filenames": names, "shard_lengths": lengths}
    (root / "info.json").write_text(json.dumps({"splits": splits}))


@pytest.fixture(params=["folder", "hfds", "wds", "stream"])
def data(request, tmp_path, monkeypatch):
    """Data modules that read the same images from each store."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    root = tmp_path / "images"
    store = {"root": str(root)}
    if request.param in ("wds", "stream"):
        pytest.importorskip("webdataset")
        if request.param == "stream":  # as of shards that aren't tar files on disk
            monkeypatch.setattr("metamixer.data.images.reading.shard_reader", lambda *_: None)
        write_shards(root)
        store["dataset"] = "wds/colours"
    else:
        write_folder(root)
    if request.param == "hfds":
        pytest.importorskip("datasets")
        store = {"root": str(tmp_path / "cache"), "dataset": f"hfds/{root}"}
    return ImageData(
        **store, batch_size=4, num_workers=0, preprocessing=Preprocessing(size=32, crop_pct=1.0), augmentation=PLAIN
    )


def colour_of(image):
    """Number of the class whose color an image has, after preprocessing."""
    preprocessing = Preprocessing()
    mean, std = (torch.tensor(values) for values in (preprocessing.mean, preprocessing.std))
    seen = image.mean(dim=(1, 2)) * std + mean
    colours = torch.tensor(list(COLOURS.values())) / 255
    return (colours - seen).norm(dim=1).argmin().item()


def test_evaluation_sees_every_image_once_with_its_label(data):
    batches = list(data.val_dataloader())
    labels = torch.cat([labels for _, labels in batches]).tolist()
    assert [colour_of(image) for images, _ in batches for image in images] == labels
    assert sorted(labels) == sorted(number for number, _, _ in images_of("validation"))


def test_training_shuffles_and_gives_full_batches(data):
    labels = []
    for _ in range(3):
        for images, batch_labels in data.train_dataloader():
            assert images.shape == (4, 3, 32, 32)
            assert [colour_of(image) for image in images] == batch_labels.tolist()
            labels += batch_labels.tolist()
    assert set(labels) == set(range(len(COLOURS)))
    assert labels != sorted(labels)


def test_class_names_are_known_where_the_store_tells_them(data):
    assert data.classes == (None if data.dataset.startswith("wds/") else list(COLOURS))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_epochs_differ_and_a_resumed_run_repeats_them(num_workers, data):
    """Epochs are set as in Lightning: on the sampler, if there is one, and not on the data set.

    Two shards may have the same order in two epochs, but not in all four.
    """
    data.loading = replace(data.loading, num_workers=num_workers)

    def epochs(numbers):
        place = SimpleNamespace(
            current_epoch=numbers[0], world_size=1, global_rank=0, fit_loop=SimpleNamespace(batch_idx=-1)
        )
        data.trainer = place
        loader = data.train_dataloader()
        for place.current_epoch in numbers:
            if hasattr(loader.sampler, "set_epoch"):
                loader.sampler.set_epoch(place.current_epoch)
            yield torch.cat([images.mean(dim=(1, 2, 3)) for images, _ in loader]).tolist()

    unbroken = list(epochs([0, 1, 2, 3]))
    assert len(set(map(tuple, unbroken))) > 1
    assert list(epochs([2, 3])) == unbroken[2:]


def test_a_folder_too_long_for_the_sockets_of_workers_is_refused(data, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", "/" + 70 * "x")
    data.loading = replace(data.loading, num_workers=2)
    with pytest.raises(InputError, match=r"folder for temporary files /x+, expected at most 70 characters"):
        data.train_dataloader()
    data.loading = replace(data.loading, num_workers=0)
    data.train_dataloader()


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_loader_begins_where_the_trainer_stands_in_the_epoch(num_workers, data):
    data.loading = replace(data.loading, num_workers=num_workers)
    data.augmentation = Augmentation()
    data.trainer = SimpleNamespace(current_epoch=1, world_size=1, global_rank=0, fit_loop=SimpleNamespace(batch_idx=-1))
    loader = data.train_dataloader()
    whole = list(loader)
    data.trainer.fit_loop.batch_idx = 0
    rest = list(loader)
    assert len(whole) == len(rest) + 1
    assert len(loader) == len(whole) or isinstance(loader.dataset, IterableDataset)  # a stream's length is a guess
    for before, after in zip(whole[1:], rest, strict=True):
        assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_the_random_choices_about_an_item_depend_on_no_number_of_workers(data):
    if isinstance(data.training_dataset(), IterableDataset):
        pytest.skip("a stream's items are drawn by its workers")
    data.augmentation = Augmentation()
    epochs = []
    for num_workers in (0, 1, 3):
        data.loading = replace(data.loading, num_workers=num_workers)
        epochs.append(torch.cat([images for images, _ in data.train_dataloader()]))
    assert torch.equal(epochs[0], epochs[1])
    assert torch.equal(epochs[0], epochs[2])


@pytest.mark.parametrize("processes", [2, 3])
def test_several_processes_share_an_epoch_and_evaluate_every_item_once(processes, data):
    def sizes(rank):
        data.trainer = SimpleNamespace(
            current_epoch=0, world_size=processes, global_rank=rank, fit_loop=SimpleNamespace(batch_idx=-1)
        )
        return len(data.train_dataloader()), [
            colour_of(image) for images, _ in data.val_dataloader() for image in images
        ]

    if isinstance(data.training_dataset(), IterableDataset):
        with pytest.raises(InputError, match=f"a stream, which {processes} processes can't share evenly"):
            sizes(0)
        return
    steps, colours = zip(*map(sizes, range(processes)), strict=True)
    assert len(set(steps)) == 1
    assert sorted(chain(*colours)) == sorted(number for number, _, _ in images_of("validation"))


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"a.png": b"picture"}, "1.tar: sample a without a class, expected a.cls beside it"),
        ({"a.png": b"picture", "a.cls": b"red"}, "1.tar/a.png: class b'red' .*, expected a number"),
        ({"a.png": b"picture", "a.cls": b"1"}, "1.tar/a.png: not a readable image"),
        (None, "1.tar: not a readable shard .*, expected a tar file"),
    ],
)
def test_what_is_wrong_in_a_shard_is_named(members, message, tmp_path):
    shard = tmp_path / "1.tar"
    shard.write_bytes(b"no tar file")
    if members:
        with tarfile.open(shard, "w") as archive:
            for name, content in members.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    with pytest.raises(InputError, match=message):
        LabelledImages(ShardReader([shard], suffixes=[".png"]), mode="RGB", transform=None)[0]


def test_every_store_gives_items_from_its_whole_length(data):
    images, labels = spread(data.evaluation_dataset("val"), 4)
    assert [colour_of(image) for image in images] == labels
    assert len(labels) == 4
    assert len(spread(data.evaluation_dataset("val"), 100)[1]) == 3 * EACH // 2


@pytest.mark.parametrize(
    ("dataset", "missing", "message"),
    [
        (
            "hfds/pets",
            "datasets",
            r"data.dataset 'hfds/pets' needs datasets: pip install 'metamixer\[readers\]'",
        ),
        (
            "wds/pets",
            "webdataset",
            r"data.dataset 'wds/pets' needs webdataset: pip install 'metamixer\[readers\]'",
        ),
        ("hfds/nobody/pets", None, "data.dataset 'hfds/nobody/pets': can't be fetched .*: check the connection"),
    ],
)
def test_an_unreachable_store_is_named(dataset, missing, message, tmp_path, monkeypatch):
    if missing:
        monkeypatch.setitem(sys.modules, missing, None)
    else:
        monkeypatch.setattr(pytest.importorskip("datasets"), "load_dataset", offline)
    with pytest.raises(InputError, match=message):
        ImageData(str(tmp_path), dataset).evaluation_dataset("val")


def offline(*args, **kwargs):
    raise ConnectionError("Couldn't reach it on the Hub")


def test_an_image_without_a_name_is_named_by_its_number():
    reader = SimpleNamespace(filename=lambda index, absolute: None)
    assert LabelledImages(reader, mode="RGB", transform=None).filename(7) == "image 7"


@pytest.mark.parametrize("mode", ["1", "L", "LA", "La", "I", "F", "I;16", "I;16B"])
def test_grey_modes_are_one_list(mode):
    assert is_grey(mode)
    assert not any(map(is_grey, ("RGB", "RGBA", "P", "CMYK", "YCbCr")))


def test_a_16_bit_image_of_12_bits_is_nearly_black_and_says_so_once(monkeypatch):
    monkeypatch.setattr(reading, "nearly_black", [])
    with pytest.warns(InputWarning, match="x.png: 16 bits, but no value above 4095: nearly black; multiply"):
        read_image(Image.fromarray(np.full((4, 4), 4095, np.uint16)), name="x.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_image(Image.fromarray(np.full((4, 4), 4095, np.uint16)), name="y.png")
        assert read_image(Image.fromarray(np.full((4, 4), 65535, np.uint16)), mode="L").getpixel((0, 0)) == 255
