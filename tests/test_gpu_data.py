"""The archive of images for a machine with a GPU: small enough, and read like any folder of classes."""

import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metamixer.data import ImageData, Preprocessing
from metamixer.errors import InputError

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def pack(monkeypatch, tmp_path):
    """A function (mebibytes) -> the archive of 20 noisy images of two classes."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    import gpu_data

    generator = np.random.default_rng(0)
    for split, count in (("train", 8), ("val", 2)):
        for kind in ("cat", "dog"):
            folder = tmp_path / "images" / split / kind
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = generator.integers(0, 256, (84, 100, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.jpg")

    def run(mebibytes):
        archive = tmp_path / "packed/images.tar.gz"
        options = ["--out", archive, "--mebibytes", mebibytes, "--val-images", 1]
        monkeypatch.setattr(sys, "argv", ["gpu_data.py", *map(str, [tmp_path / "images", *options])])
        gpu_data.main()
        return archive

    return run


def test_it_is_read_like_the_folder(pack, tmp_path):
    archive = pack(0.1)
    assert archive.stat().st_size <= 0.1 * 2**20
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path / "unpacked", filter="data")
    data = ImageData(str(tmp_path / "unpacked"), preprocessing=Preprocessing(size=72, crop_pct=1.0))
    images = {"train": data.training_dataset(), "val": data.evaluation_dataset("val")}
    assert {split: len(found) for split, found in images.items()} == {"train": 16, "val": 2}
    assert images["val"][0][0].shape == (3, 72, 72)
    assert data.classes == ["cat", "dog"]
    assert {Image.open(path).size for path in (tmp_path / "unpacked").rglob("*.webp")} == {(72, 72)}


def test_a_smaller_archive_has_a_lower_quality(pack):
    assert pack(0.1).stat().st_size > pack(0.05).stat().st_size


def test_no_quality_may_be_low_enough(pack):
    with pytest.raises(InputError, match=r"--mebibytes 0\.001, expected at least"):
        pack(0.001)
