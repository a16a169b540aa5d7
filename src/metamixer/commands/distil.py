"""metamixer distil"""

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from ..errors import MOST_EPOCHS, InputError, counted, expect_integer, from_zero_to_one
from ..zoo.weights import find_weights
from .output import Output
from .training import training_result

LEARN = ("logits", "features", "both")

FREE = ("optimization.", "cache", "num_workers")
"""Beginnings of settings that may differ when a run is resumed."""

PLACES = ("root", "split")
"""Settings that are paths, of which one place has several."""


def distil(
    folder: str,
    *,
    teacher: str,
    out: str | None = None,
    model: str = "ffnet_nano",
    initial: str | None = None,
    learn: str = "logits",
    unlabeled: bool = False,
    stages: Sequence[int] = (3,),
    teacher_stages: Sequence[int] = (-1,),
    teacher_size: int | None = None,
    size: int = 96,
    views: int = 4,
    cutmix: float = 0.0,
    cache: str | None = None,
    epochs: int = 30,
    batch_size: int = 64,
    lr: float = 2e-3,
    num_workers: int = 1,
    seed: int = 0,
    resume: bool | Literal["auto"] = False,
    json: str | None = None,
    overwrite: bool = False,
) -> None:
    """Train a small classifier on a larger one's outputs for your images, which are computed once.

    Args:
        folder: a folder of images for each class, directly or in each of train and val; any other folder is used as
            images without labels.
        teacher: the name of a network of metamixer or timm, package.module:function, a checkpoint of `fit` or its run
            folder, or a file of `metamixer export`.
        out: folder for checkpoints, logs and the configuration, with which `metamixer fit` repeats the run; default:
            runs/NAME_distilled.
        model: the student, a network of metamixer or timm.
        initial: a checkpoint that the student starts from, or scratch for a random initialization; default: the
            student's packaged weights, if there are any. The class layer is new.
        learn: logits, features or both; images without labels need the logits.
        unlabeled: use the images without labels, whatever their folders are.
        stages: the student's stages that learn features, from 0.
        teacher_stages: the teacher's stages that they learn, in the same order; -1 is the last.
        teacher_size: side of the teacher's images in pixels; default: its file's, or the only one it takes, else
            the student's.
        size: side of the student's images in pixels.
        views: fixed crops of each image, each of which the teacher sees once.
        cutmix: strength of CutMix of crops, whose outputs are mixed alike; against overfitting. 0 for none.
        cache: folder for the teacher's outputs, for other runs with these images; default: OUT/teacher.
        epochs: number of epochs.
        batch_size: images per batch.
        lr: the maximum learning rate.
        num_workers: processes that load images.
        seed: random seed, also of the images held out for validation; those of the teacher's run are held out again if
            it is a run on these images.
        resume: continue from the last checkpoint in OUT. --resume auto: if there is one, else start.
        json: file for the result as JSON; "-" for standard output, with all other lines on standard error.
        overwrite: replace an existing JSON file.
    """
    from ..data.images.folders import has_classes
    from ..training.own_data.training import precision_named

    if learn not in LEARN:
        raise InputError(f"learn {learn!r}, expected one of {', '.join(LEARN)}")
    expect_integer("epochs", epochs, 1, MOST_EPOCHS)
    from_zero_to_one("cutmix", cutmix)
    output = Output(json, overwrite=overwrite)
    out = out or f"runs/{Path(os.path.realpath(folder)).name}_distilled"
    labelled = has_classes(folder) and not unlabeled
    if not labelled and learn == "features":
        raise InputError(f"learn 'features', expected logits or both: {folder} is used without labels")
    split = _split_of(teacher, folder) if labelled else None
    folders = _folders(folder, split, seed) if labelled else None
    start = _start(model, initial)
    learners, teachers = (stages, teacher_stages) if learn != "logits" else ((), ())
    student = {
        "model": model,
        "num_classes": folders and len(folders["train"]),
        "initial": start,
        "new_classifier": start is not None,
        "cutmix": cutmix,
        "cache": cache or str(Path(out, "teacher")),
        "stages": list(learners),
        "optimization": {"lr": lr, "warmup_epochs": min(2.0, epochs / 10)},
        "distillation": _distillation(teacher, teacher_size, teachers, learn=learn, labelled=labelled),
    }
    loading = {"batch_size": batch_size, "num_workers": num_workers, "seed": seed}
    data = _data(folder, labelled=labelled, views=views, size=size, split=split, **loading)
    recipe = _recipe(out, student, data, epochs)
    goes_on = resume and Path(out, "last.ckpt").is_file()
    if goes_on:
        _expect_same_run(recipe, Path(out, "config.yaml"))
    begin = "its last checkpoint" if goes_on else start or "a random initialization"
    begun = f"{teacher} teaches {model} from {begin}{precision_named(recipe)}"
    output.say(f"{folder}: {_images(folder, folders)}; {begun}; the run is in {out}")
    trained = _fit(recipe, output, resume=resume)
    if trained.trainer.is_global_zero and Path(out, "best.ckpt").is_file():
        _end(training_result(trained), Path(out, "best.ckpt"), teacher, output)


def _end(result: dict[str, Any], best: Path, teacher: str, output: Output) -> None:
    """Print the teacher's own accuracy, if it was measured, and the result."""
    if (taught := result["metrics"].get("val/teacher_top1")) is not None:
        output.say(f"{teacher}: {100 * taught:.1f} % of the same images")
    output.end({**result, "teacher": teacher}, wrote=[best], then=_next_command(best))


def _folders(folder: str, split: str | None, seed: int) -> dict:
    """The images of each class in each split."""
    from ..data.images.distillation import DistillationData

    try:
        return DistillationData(folder, split=split, seed=seed).folders()
    except InputError as error:
        raise InputError(f"{error}, or --unlabeled") from None


def _images(folder: str, folders: dict | None) -> str:
    """The images of a folder, and what isn't used, in words; raises InputError for unreadable images."""
    from ..data.images.folders import images_of, left_out
    from ..data.images.reading import images_below
    from ..training.own_data.images import expect_readable, told

    images = images_of(folders["train"]) + images_of(folders["validation"]) if folders else images_below(folder)
    expect_readable(images)
    if folders:
        return told(Path(folder), folders)
    return f"{counted(len(images), 'image')} without labels{left_out(Path(folder), images)}"


def _split_of(teacher: str, folder: str) -> str | None:
    """The split.json of the teacher's run if it divides these images: the teacher was trained on the others."""
    from ..data.images.distillation import DistillationData
    from ..data.images.splits import has_splits
    from ..training.run_folder import SPLIT

    file = Path(teacher, SPLIT) if Path(teacher).is_dir() else Path(teacher).with_name(SPLIT)
    if has_splits(folder) or not Path(teacher).exists() or not file.is_file():
        return None
    try:
        DistillationData(folder, split=str(file)).folders()
    except InputError:  # of other images, or of another task
        return None
    return str(file.resolve())


def _next_command(best: Path) -> str:
    """The command that uses the student."""
    from ..checkpoints.ours import read_checkpoint

    _, info = read_checkpoint(best)
    use = "predict IMAGES --checkpoint" if info.get("classes") else "train FOLDER --initial"
    return f"metamixer {use} {shlex.quote(str(best))}"


def _fit(recipe: dict, output: Output, *, resume: bool | Literal["auto"]) -> Any:
    """Train a recipe, whose copy in the run's folder is the one to keep."""
    import yaml

    from ..system.files import write_text
    from ..training.command_line import run
    from ..training.recipe_checks import unnamed

    with TemporaryDirectory() as place:
        path = Path(place, "recipe.yaml")
        write_text(path, yaml.safe_dump(recipe, sort_keys=False))
        with unnamed(path), output.alone():
            return run(["fit", "--config", str(path), f"--resume={str(resume).lower()}"])


def _expect_same_run(recipe: dict, config: Path) -> None:
    """Raise InputError unless the run to resume has the same student, teacher and data; its length may differ."""
    from ..system.yaml_files import read_yaml

    kept = read_yaml(config, expected="the settings of the run to resume")
    for part in ("model", "data"):
        for name, value in _settings(recipe[part]).items():
            found = _settings(kept[part]).get(name)
            if name in PLACES and found:
                value, found = os.path.realpath(value), os.path.realpath(found)
            if found != value and not name.startswith(FREE):
                raise InputError(
                    f"{name} {value!r} with resume, expected {found!r}, which the run in {config.parent} has"
                )


def _settings(part: dict, begin: str = "") -> dict[str, Any]:
    """The settings of a recipe's part by name, such as distillation.teacher.model; classes without their modules."""
    found = {}
    for name, value in part.items():
        inner = begin if name == "init_args" else f"{begin}{name}."
        value = value.rpartition(".")[2] if name == "class_path" else value
        found |= _settings(value, inner) if isinstance(value, dict) else {inner.removesuffix("."): value}
    return found


def _start(model: str, initial: str | None) -> str | None:
    """The weights that the student starts from; None for a random initialization."""
    from ..training.own_data.start import SCRATCH

    if initial is not None:
        return None if initial == SCRATCH else initial
    weights = find_weights(model)
    return weights.name if weights and weights.packaged else None


def _recipe(out: str, student: dict, data: dict, epochs: int) -> dict:
    """The recipe for `metamixer fit`."""
    from ..training.own_data.training import fastest_precision

    return {
        "seed_everything": data["init_args"]["seed"],
        "out": out,
        "model": {"class_path": "DistilledClassification", "init_args": student},
        "data": data,
        "trainer": {
            "max_epochs": epochs,
            "log_every_n_steps": 1,
            **fastest_precision("classification"),
            "callbacks": [{"class_path": "MovingAverage", "init_args": {"decay": 0.99}}],
        },
    }


def _distillation(teacher: str, size: int | None, stages: Sequence[int], *, learn: str, labelled: bool) -> dict:
    """The recipe's teacher and its weight beside the labels."""
    args = {"model": teacher, "size": size, "stages": list(stages)}
    return {
        "class_path": "Distillation",
        "init_args": {
            "kind": "divergence",
            "alpha": {"features": 0.0}.get(learn, 0.7 if labelled else 1.0),
            "teacher": {"class_path": "Teacher", "init_args": args},
        },
    }


def _data(folder: str, *, labelled: bool, views: int, size: int, **settings) -> dict:
    """The recipe's data."""
    return {
        "class_path": "DistillationData" if labelled else "UnlabelledDistillationData",
        "init_args": {
            "root": folder,
            "views": {"count": views},
            **settings,
            "preprocessing": {"size": size, "crop_pct": 1.0},
        },
    }
