"""The commands, one file and one function each: the function's keywords are the options, its docstring is the help.

`shared_options.py` has the help of options that several commands have.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """A command's line in `metamixer --help`, and its examples and common options in `metamixer COMMAND --help`.

    options: the common ones; `--help all` shows the others too.
    """

    summary: str
    examples: tuple[str, ...]
    options: tuple[str, ...]


COMMANDS: dict[str, Command] = {
    "predict": Command(
        "classify images and folders",
        (
            "predict photo.jpg",
            "predict photos/ --checkpoint runs/flowers/best.ckpt",
            "predict photos/ --model ffnet_2.distilled_in1k --json result.json",
        ),
        ("model", "checkpoint", "top", "json", "device"),
    ),
    "detect": Command(
        "find objects in images and folders: boxes, masks, COCO results",
        ("detect photo.jpg", "detect photos/ --checkpoint runs/mine/best.ckpt --out found"),
        ("model", "checkpoint", "out", "score_threshold", "json", "device", "overwrite"),
    ),
    "segment": Command(
        "classify every pixel of images: label PNGs, overlays, areas",
        ("segment street.jpg", "segment photos/ --model ffnet_seg_cityscapes --out areas"),
        ("model", "checkpoint", "out", "window", "json", "device", "overwrite"),
    ),
    "upscale": Command(
        "enlarge images 2, 3 or 4 times",
        ("upscale photo.jpg", "upscale photo.jpg --out large.jpg --scale 4", "upscale photos/ --out large"),
        ("scale", "out", "weights", "model", "checkpoint", "compare", "backend", "json", "device", "overwrite"),
    ),
    "restore": Command(
        "remove noise and JPEG artifacts from photographs",
        ("restore photo.jpg", "restore photo.jpg --strength 0.7 --compare", "restore photos/ --out restored"),
        ("strength", "scale", "out", "checkpoint", "compare", "backend", "json", "device", "overwrite"),
    ),
    "points": Command(
        "classify every point of point clouds: labeled files, class counts, pictures",
        ("points scan.ply", "points scans/ --checkpoint runs/mine/best.ckpt --out labeled"),
        ("checkpoint", "model", "out", "votes", "json", "device", "overwrite"),
    ),
    "forecast": Command(
        "forecast a table of time series, without training or after training on it",
        (
            "forecast data.csv",
            "forecast data.csv --horizon 12 --levels 80 95 --plot forecast.png",
            "forecast data.csv --horizon 96 --train scratch",
        ),
        ("horizon", "lookback", "out", "plot", "levels", "train", "checkpoint", "save", "json", "overwrite"),
    ),
    "train": Command(
        "train on a folder of your own data",
        ("train flowers --minutes 10", "train table.csv --out runs/mine", "train flowers --resume"),
        ("out", "minutes", "epochs", "initial", "seed", "resume", "json"),
    ),
    "fit": Command(
        "train from a recipe, a YAML file",
        ("fit --config digits", "fit --config digits --resume"),
        ("config", "out", "resume", "data", "model", "trainer.max_epochs", "trainer.accelerator", "seed_everything"),
    ),
    "validate": Command(
        "evaluate a checkpoint on the validation split",
        ("validate --config digits --out runs/digits",),
        ("config", "out", "ckpt_path", "data", "model", "trainer.accelerator"),
    ),
    "test": Command(
        "evaluate a checkpoint on the test split",
        ("test --config digits --out runs/digits",),
        ("config", "out", "ckpt_path", "data", "model", "trainer.accelerator"),
    ),
    "distil": Command(
        "train a small classifier on a larger one's outputs for your images",
        (
            "distil flowers --teacher convnext_tiny.in12k_ft_in1k --learn features",
            "distil photos/ --teacher runs/large/best.ckpt --out runs/small",
        ),
        ("teacher", "out", "model", "initial", "learn", "views", "cache", "epochs", "resume", "json"),
    ),
    "fuse": Command("write a checkpoint's deploy form", ("fuse runs/digits/best.ckpt",), ("out", "json", "overwrite")),
    "export": Command(
        "export a network to another runtime's format, and verify it",
        ("export runs/digits/best.ckpt --format onnx", "export ffnet_sr_nano --format openvino --shape 1 3 256 256"),
        ("format", "out", "model", "size", "shape", "precision", "calibration", "validation", "json", "overwrite"),
    ),
    "bench": Command(
        "benchmark networks on this machine, on every backend",
        ("bench ffnet_1 --vs resnet50 --batch 1 8",),
        ("vs", "batch", "sizes", "backends", "precisions", "threads", "json", "picture"),
    ),
    "models": Command(
        "list the networks and their weights",
        ("models", "models --task detection"),
        ("task", "json"),
    ),
    "draw": Command(
        "draw a training run: predictions, training curve, learned kernels",
        ("draw runs/digits/best.ckpt",),
        ("out", "block", "json", "overwrite"),
    ),
}
"""In the order of the help."""

TRAINING = ("fit", "validate", "test")
"""The commands that use Lightning's command line; each of the others is a function of the same name."""
