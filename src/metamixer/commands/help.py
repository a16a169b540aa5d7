"""`--help` and shell completion, from the functions' signatures and docstrings, without importing PyTorch."""

import argparse
import re
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from inspect import Parameter, signature
from typing import Any, get_args, get_origin

from . import COMMANDS, TRAINING
from .shared_options import SHARED_OPTIONS

WIDTH = 100

TRAINING_OPTIONS: dict[str, str] = {
    "--config RECIPE": "the name of a packaged recipe, such as digits, or a YAML file; several are merged, and later "
    "options override them",
    "--out FOLDER": "folder for checkpoints, logs and the configuration (default: the recipe's, or runs/latest)",
    "--resume": "continue from last.ckpt in --out",
    "--ckpt_path FILE": "the checkpoint to continue from",
    "--model.model NAME": "the network, see `metamixer models`",
    "--model.initial FILE": "weights to start from",
    "--data.root FOLDER": "folder of the data",
    "--data.batch_size N": "samples per step",
    "--trainer.max_epochs N": "epochs to train",
    "--trainer.accelerator NAME": "cpu, gpu or auto",
    "--json FILE": 'file for the result as JSON; "-" for standard output, with all other lines on standard error',
    "--overwrite": "replace an existing JSON file",
    "--seed_everything N": "seed of the initialization; --data.seed seeds everything else",
}
"""The common options of `fit`."""

ONLY_FIT = ("--resume", "--trainer.max_epochs N")
"""Those that `validate` and `test` don't need."""

EVALUATION = {
    "--out FOLDER": "the run folder (default: the recipe's, or runs/latest)",
    "--ckpt_path FILE": "the checkpoint to evaluate (default: best.ckpt in --out)",
    "--model.initial FILE": "weights to evaluate without a checkpoint",
}
"""Those that mean something else there."""


@dataclass(frozen=True)
class Option:
    """A keyword of a command's function; positional options have no dashes."""

    name: str
    about: str
    default: object
    kind: Any
    positional: bool

    @property
    def is_flag(self) -> bool:
        """Whether the option takes no value."""
        return self.default is False

    @property
    def item(self) -> type | None:
        """The type of each value where there may be several, such as float in `Sequence[float]`; else None."""
        kinds = [kind for kind in (self.kind, *get_args(self.kind)) if get_origin(kind) is Sequence]
        return get_args(kinds[0])[0] if kinds else None

    @property
    def words(self) -> list[str]:
        """The words that it takes as a value, such as auto in `bool | Literal["auto"]`."""
        return [word for part in get_args(self.kind) for word in get_args(part)]

    @property
    def usage(self) -> str:
        """The option and its value as a user types it."""
        if self.positional:
            return self.name.upper()
        if self.default is True:
            return f"--{self.name}, --no_{self.name}"
        return f"--{self.name}" + ("" if self.is_flag else f" {self.name.rpartition('_')[2].upper()}")

    @property
    def line(self) -> str:
        """What the option does, and its default if that is informative."""
        if self.default in (None, False, (), Parameter.empty):
            return self.about
        value = " ".join(map(str, self.default)) if isinstance(self.default, tuple) else self.default
        return f"{self.about.removesuffix('.')} (default: {value})"


def training_options(command: str) -> dict[str, str]:
    """The common options of `fit`, `validate` or `test`."""
    if command == "fit":
        return TRAINING_OPTIONS
    return {name: EVALUATION.get(name, about) for name, about in TRAINING_OPTIONS.items() if name not in ONLY_FIT}


def function_of(command: str) -> Callable[..., object]:
    """The function of a command, in the module of the same name."""
    return getattr(import_module(f".{command}", __package__), command)


def options_of(command: str) -> list[Option]:
    """The options of a command's function; its first parameter is positional."""
    function = function_of(command)
    told = {**SHARED_OPTIONS, **described(function.__doc__ or "")}
    parameters = signature(function).parameters.values()
    return [
        Option(
            each.name, told.get(each.name, ""), each.default, each.annotation, each.kind is not Parameter.KEYWORD_ONLY
        )
        for each in parameters
    ]


def described(docstring: str) -> dict[str, str]:
    """The `Args:` of a docstring by name."""
    _, _, arguments = docstring.partition("Args:\n")
    entries = re.findall(r"^ {8}(\w+): (.*(?:\n {12}.*)*)", arguments, flags=re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}


def overview() -> str:
    """`metamixer --help`."""
    commands = [f"  {name:10s}{command.summary}" for name, command in COMMANDS.items()]
    examples = [f"  metamixer {COMMANDS[name].examples[0]}" for name in ("forecast", "upscale", "train", "predict")]
    return "\n".join(
        [
            "usage: metamixer COMMAND ...",
            "",
            *commands,
            "",
            *examples,
            "",
            "metamixer COMMAND --help shows examples and common options; --help all shows every option.",
            "metamixer --version prints the version, metamixer --completion SHELL code for bash, zsh or fish.",
        ]
    )


def short_help(command: str) -> str:
    """`metamixer COMMAND --help`: examples and common options."""
    about = COMMANDS[command]
    examples = [f"  metamixer {example}" for example in about.examples]
    if command in TRAINING:
        usage, lines = "--config RECIPE [options]", _listed(training_options(command).items())
        rest = "every other key of a recipe"
    else:
        options = options_of(command)
        shown = [option for option in options if option.positional or option.name in about.options]
        usage = " ".join([option.usage for option in options if option.positional] + ["[options]"])
        lines = _listed((option.usage, option.line) for option in shown)
        rest = f"all {len(options)} options"
    title = about.summary[0].upper() + about.summary[1:]
    more = f"metamixer {command} --help all shows {rest}."
    return "\n".join([f"usage: metamixer {command} {usage}", "", f"{title}.", "", *examples, "", *lines, "", more])


def full_help(command: str) -> str:
    """`metamixer COMMAND --help all`, for commands that are functions."""
    summary = " ".join((function_of(command).__doc__ or "").partition("\n\n")[0].split())
    options = options_of(command)
    usage = " ".join([option.usage for option in options if option.positional] + ["[options]"])
    lines = _listed((option.usage, option.line) for option in options)
    return "\n".join([f"usage: metamixer {command} {usage}", "", *textwrap.wrap(summary, WIDTH), "", *lines])


def completing_parser() -> argparse.ArgumentParser:
    """A parser of all commands and options, for shell completion only."""
    parser = argparse.ArgumentParser("metamixer")
    commands = parser.add_subparsers()
    for name in COMMANDS:
        command = commands.add_parser(name)
        if name in TRAINING:
            for option in training_options(name):
                command.add_argument(option.split()[0])
            continue
        for option in options_of(name):
            if option.positional:
                command.add_argument(option.name, nargs="*")
            else:
                command.add_argument(f"--{option.name}", **({"action": "store_true"} if option.is_flag else {}))
    return parser


def _listed(options: Iterable[tuple[str, str]]) -> list[str]:
    """Lines in two columns; long descriptions are wrapped within theirs."""
    rows = list(options)
    column = min(max(len(name) for name, _ in rows), 28) + 4
    lines = []
    for name, about in rows:
        first, *others = textwrap.wrap(about, WIDTH - column) or [""]
        lines += [f"  {name:{column - 2}s}{first}", *(" " * column + other for other in others)]
    return [line.rstrip() for line in lines]
