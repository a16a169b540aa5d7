"""Files that are none: FIFOs, devices, links in a circle. Each is one line, and nothing waits for it."""

import os
from pathlib import Path

import pytest

from metamixer.cli import main
from metamixer.data.arrays import read_array
from metamixer.data.images.jpeg import is_lossy
from metamixer.data.images.lossless import read_picture
from metamixer.data.images.reading import find_images, read_image
from metamixer.data.points.clouds import read_cloud
from metamixer.data.series.tables import read_table
from metamixer.errors import InputError
from metamixer.system.files import check_targets, expect_file
from metamixer.system.yaml_files import read_yaml
from metamixer.training.own_data.objects import coco_files
from metamixer.training.recipe_checks import naming_recipes

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a system without FIFOs")


def inputs_of_a_job(path: Path) -> None:
    from metamixer.engine.sources import find_sources

    list(find_sources(str(path), (".png",)))


READERS = {
    "a.png": (read_image, read_picture, expect_file, lambda path: find_images([path])),
    "a.ply": (read_cloud,),
    "a.csv": (read_table,),
    "a.npy": (read_array,),
    "a.yaml": (read_yaml,),
    "a.txt": (inputs_of_a_job,),
    "a.parquet": (inputs_of_a_job,),
}


@pytest.mark.parametrize(("name", "read"), [(name, read) for name, readers in READERS.items() for read in readers])
def test_nothing_waits_for_a_fifo(name, read, tmp_path):
    os.mkfifo(tmp_path / name)
    with pytest.raises(InputError, match=rf"{name}: is a FIFO, a socket or a device, expected a file"):
        read(tmp_path / name)


def test_fifos_of_a_folder_are_no_images_and_no_annotations(tmp_path):
    os.mkfifo(tmp_path / "a.json")
    os.mkfifo(tmp_path / "a.jpg")
    assert coco_files(tmp_path) == []
    assert not is_lossy(tmp_path / "a.jpg")


def test_a_device_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "out.csv")
    with pytest.raises(InputError, match=r"out\.csv: is a FIFO"):
        check_targets([tmp_path / "out.csv"], sources=[], overwrite=True)


@pytest.mark.parametrize("command", ["restore", "upscale"])
def test_links_in_a_circle_are_one_line(command, tmp_path, capsys):
    for first, second in (("a.png", "b.png"), ("b.png", "a.png")):
        (tmp_path / first).symlink_to(tmp_path / second)
    assert main([command, str(tmp_path / "a.png"), "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.strip().startswith(f"metamixer: error: {tmp_path}/a.png: ")


def test_a_long_message_is_not_taken_for_a_name(tmp_path):
    with pytest.raises(InputError, match=r"^a\.yaml: xxx"), naming_recipes(["fit", "--config", "a.yaml"]):
        raise InputError(f"{'x' * 300}, expected y")
