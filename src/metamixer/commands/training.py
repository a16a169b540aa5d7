"""metamixer fit, validate and test: a recipe's run, and its result."""

import shlex
from argparse import ArgumentError, ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from .output import Output

if TYPE_CHECKING:
    from ..training.command_line import TrainingCLI


def run_recipe(words: Sequence[str]) -> None:
    """Run `fit`, `validate` or `test` with their arguments; `--json` and `--overwrite` are ours, not the recipe's."""
    from ..training.command_line import run

    parser = ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--json")
    parser.add_argument("--overwrite", action="store_true")
    try:
        ours, rest = parser.parse_known_args(words)
    except ArgumentError as error:
        raise InputError(f"{words[0]}: {error}; see metamixer {words[0]} --help") from None
    output = Output(ours.json, overwrite=ours.overwrite)
    with output.alone():
        done = run(rest)
    if not done.trainer.is_global_zero:
        return
    if done.config.subcommand != "fit":
        output.end({"task": task_of(done), "weights": done.weights, "metrics": metrics_of(done)})
    elif (best := Path(done.trainer.default_root_dir, "best.ckpt")).is_file():
        output.end(training_result(done), wrote=[best], then=next_commands(best))
    else:
        output.end(training_result(done))


def training_result(run: "TrainingCLI") -> dict[str, Any]:
    """What a training has reached, as plain values; value: the best checkpoint's monitored metric."""
    out = Path(run.trainer.default_root_dir)
    best = next((callback for callback in run.trainer.checkpoint_callbacks if callback.monitor), None)
    score = best and best.best_model_score
    return {
        "task": task_of(run),
        "out": str(out),
        "checkpoint": str(out / "best.ckpt") if (out / "best.ckpt").is_file() else None,
        "metric": best and best.monitor,
        "value": None if score is None else float(score),
        "epochs": run.trainer.current_epoch,
        "steps": run.trainer.global_step,
        "metrics": metrics_of(run),
    }


def metrics_of(run: "TrainingCLI") -> dict[str, float]:
    """The last value of each metric, by the name in the logs."""
    return {name: float(value) for name, value in sorted(run.trainer.callback_metrics.items())}


def task_of(run: "TrainingCLI") -> str | None:
    """The name of the recipe's task, if it is one of ours."""
    spec = getattr(run.model, "spec", None)
    return spec.name if spec else None


def next_commands(best: Path) -> str:
    """What to do with the checkpoint of a training; its config.yaml has every setting of the run."""
    test = ["metamixer", "test", "--config", str(best.with_name("config.yaml"))]
    return f"{shlex.join(test)}, or {shlex.join(['metamixer', 'draw', str(best)])}"
