"""The package's layers: imports run downwards, its root stays small, and prediction needs no training library."""

import ast
import subprocess
import sys
import warnings
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
import timm

import metamixer
from metamixer.moved import MOVED, MOVED_NAMES

FLOORS = (
    ("errors", "moved"),
    ("system", "ops"),
    ("zoo",),
    ("mixer", "drawing"),
    ("models", "data"),
    ("inference", "deployment"),
    ("checkpoints",),
    ("tasks", "bench"),
    ("training",),
    ("predictors",),
    ("engine",),
    ("commands",),
    ("cli",),
    ("__init__", "__main__"),
)
"""The package's folders and single files, lowest first. A file imports only its own folder and lower layers."""

FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
PACKAGE = Path(metamixer.__file__).parent
FILES_IN_ROOT = 6


def imported(source: str, folder: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    """Line and layer of every import from this package in a file of `folder`, also inside functions."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            paths = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = ["metamixer", *folder][: len(folder) + 2 - node.level] if node.level else []
            paths = [[*above, *(node.module.split(".") if node.module else []), alias.name] for alias in node.names]
        else:
            continue
        # A name that is no layer, as in `from metamixer import fuse`, comes from the package's own __init__.
        yield from (
            (node.lineno, path[1] if path[1:] and path[1] in FLOOR else "__init__")
            for path in paths
            if path[0] == "metamixer"
        )


def imports_upwards(source: str, file: Path) -> list[str]:
    """Imports of a file, given by its path in the package, from its own layer or a higher one."""
    room = file.parts[0] if file.parent.parts else file.stem
    return [
        f"{file}:{line} imports {other}"
        for line, other in imported(source, file.parent.parts)
        if other != room and FLOOR[other] >= FLOOR[room]
    ]


def test_imports_run_one_way():
    files = [path.relative_to(PACKAGE) for path in sorted(PACKAGE.rglob("*.py"))]
    assert [message for file in files for message in imports_upwards((PACKAGE / file).read_text(), file)] == []


@pytest.mark.parametrize(
    ("file", "line", "room"),
    [
        ("ops/made_up.py", "from ..mixer import MetaMixer", "mixer"),
        ("models/made_up.py", "from .. import data", "data"),
        ("deployment/runtimes/made_up.py", "    from ...predictors.segmenter import PUBLISHED", "predictors"),
        ("deployment/made_up.py", "    import metamixer.tasks.classification", "tasks"),
        ("data/images/made_up.py", "from metamixer.models import create_model", "models"),
        ("system/made_up.py", "from metamixer import fuse", "__init__"),
        ("errors.py", "from .ops import sparse", "ops"),
    ],
)
def test_an_upward_import_is_found(file, line, room):
    source = f"from torch import nn\n\nif nn:\n    pass\n{'def f():' if line.startswith(' ') else ''}\n{line}\n"
    assert imports_upwards(source, Path(file)) == [f"{file}:6 imports {room}"]


@pytest.mark.parametrize(
    "line", ["from ..errors import InputError", "from .formats import FORMATS", "from metamixer.ops import fused"]
)
def test_an_import_of_a_lower_layer_or_the_same_folder_is_not(line):
    assert imports_upwards(line, Path("deployment/made_up.py")) == []


def test_the_root_stays_small():
    assert len(list(PACKAGE.glob("*.py"))) <= FILES_IN_ROOT
    folders = {path.name for path in PACKAGE.iterdir() if any(path.glob("*.py"))}
    assert folders | {path.stem for path in PACKAGE.glob("*.py")} == set(FLOOR)


def test_export_needs_no_lightning(tmp_path):
    """Neither does anything else that `import metamixer` imports."""
    command = [
        "export",
        "ffnet_nano",
        "--pretrained",
        "false",
        "--format",
        "torch",
        "--size",
        "32",
        "--dynamic",
        "false",
        "--out",
        str(tmp_path / "nano.pt2"),
    ]
    program = (
        "import sys, metamixer.deployment.exporting, metamixer.cli as cli; "
        f"cli.main({command}); print('lightning' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (tmp_path / "nano.pt2").is_file()
    assert result.stdout.endswith("\nFalse\n")


def test_predicting_needs_no_lightning():
    """It takes seconds to import."""
    program = (
        "import sys; from importlib import import_module; from metamixer.models.tasks import TASKS; "
        "[import_module(f'metamixer.predictors.{task.predictor.rpartition(\".\")[0]}') for task in TASKS.values()]; "
        "print('lightning' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "False\n"


@pytest.mark.parametrize(("old", "new"), MOVED.items())
def test_a_module_of_0_1_0_still_imports(old, new):
    sys.modules.pop(old, None)
    with pytest.warns(DeprecationWarning, match=f"{old} is {new} now") as caught:
        __import__(old)
    assert sys.modules[old] is sys.modules[new]
    assert caught[0].filename == __file__
    with warnings.catch_warnings(action="ignore"):
        assert old.count(".") > 1 or getattr(metamixer, old.removeprefix("metamixer.")) is sys.modules[new]


PUBLIC_IN_0_1_0 = {
    "metamixer": "Classifier Detector Forecaster InputError MetaMixer PointSegmenter Segmenter TOKEN_MIXERS Upscaler "
    "create_model deploy fuse list_models load_checkpoint load_exported load_published",
    "metamixer.bench": "Entry Result choose_forms own_sizes time_networks",
    "metamixer.bench_report": "draw_pareto fastest_forms table",
    "metamixer.checkpoints": "load_checkpoint load_initial network_info save_network",
    "metamixer.complexity": "measure",
    "metamixer.data": "Augmentation CloudData CocoData CorruptedImageData DetectionAugmentation "
    "DetectionPreprocessing DigitsData ImageData PointAugmentation PointPreprocessing Preprocessing S3DISData "
    "ScanNetData SegmentationAugmentation SegmentationData SegmentationPreprocessing SemanticKITTIData SeriesData "
    "SuperResolutionData",
    "metamixer.data.coco": "CocoData",
    "metamixer.data.corrupted": "CorruptedImageData",
    "metamixer.data.images": "DigitsData ImageData LabelledImages read_dataset read_image",
    "metamixer.data.point_sets": "KITTI_CLASSES S3DISData ScanNetData SemanticKITTIData",
    "metamixer.data.points": "CloudData",
    "metamixer.data.segmentation": "SegmentationData",
    "metamixer.data.super_resolution": "ImagePairs SuperResolutionData",
    "metamixer.data.windows": "SeriesData Windows",
    "metamixer.deployment.exporting": "export",
    "metamixer.detector": "Detector",
    "metamixer.files": "write_png write_text",
    "metamixer.forecaster": "Forecaster Training",
    "metamixer.machine": "describe_accelerator describe_machine",
    "metamixer.mixer": "MetaMixer SelfAttention",
    "metamixer.models": "CascadeMaskRCNN FFNet FFNet3D FFNetSR FFNetTS SegmentationNetwork create_model list_models",
    "metamixer.models.cascade_mask_rcnn": "paste_masks",
    "metamixer.packaged": "packaged_scales",
    "metamixer.point_segmenter": "PointSegmenter",
    "metamixer.prediction": "Classifier find_images",
    "metamixer.published": "load_published",
    "metamixer.quality": "psnr ssim",
    "metamixer.resizing": "crop_to_multiple imresize",
    "metamixer.segmenter": "Segmenter",
    "metamixer.series": "Conv1d Dropout",
    "metamixer.sparse": "SparseVoxels VoxelGrid pool_max submanifold_convolution unpool",
    "metamixer.sparse_layers": "BatchNorm GELU SubmanifoldConv3d",
    "metamixer.tasks": "Classification CorruptionRobustness Detection DetectionOptimization Distillation Forecasting "
    "MovingAverage Optimization PointOptimization PointSegmentation Segmentation SegmentationOptimization "
    "SuperResolution Teacher",
    "metamixer.training": "run use_fast_settings",
    "metamixer.upscaling": "Upscaler",
}
"""What 0.1.0's pages, example and benchmarks import, and what its packages export (commit 4b6b40f)."""


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("module", PUBLIC_IN_0_1_0)
def test_what_0_1_0_had_still_imports(module):
    found = import_module(module)
    assert [name for name in PUBLIC_IN_0_1_0[module].split() if not hasattr(found, name)] == []


@pytest.mark.parametrize(("module", "places"), MOVED_NAMES.items())
def test_a_name_that_moved_warns_and_is_found(module, places):
    for name in " ".join(places.values()).split():
        with pytest.warns(DeprecationWarning, match=f"{module}.{name} is .*{name} now"):
            assert getattr(import_module(module), name).__name__ == name


def test_timm_lists_the_image_networks_under_one_name():
    assert timm.list_models(module="ffnet") == metamixer.list_models("classification")
