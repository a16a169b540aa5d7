"""The command line `metamixer COMMAND`: training runs through LightningCLI, every other command is a function."""

import io
import json
import os
import re
import sys
import warnings
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module

from .errors import DIVERGED, USAGE_ERROR, DivergenceError, InputError, InputWarning, printable
from .models.tasks import TASKS

SUMMARIES = {
    "train": "train on a folder of your own data: metamixer train flowers --minutes 10",
    "fit": "train from a recipe: metamixer fit --config recipes/classification/digits.yaml",
    "validate": "evaluate a checkpoint on the validation split",
    "test": "evaluate a checkpoint on the test split",
    **{task.command: task.summary for task in TASKS.values()},
    "fuse": "write a checkpoint's deploy form (fused)",
    "export": "export a checkpoint to another runtime's format and verify the outputs",
    "bench": "benchmark networks on this machine, on every backend",
    "models": "list the networks with their sizes and accuracies in the paper",
    "draw": "plot a checkpoint: predictions, training curve, kernels",
}
"""Help text of each command. All but fit, validate and test are functions in `commands`: COMMAND in COMMAND.py."""
POSITIONAL = {
    "images": {"nargs": "+", "help": "image files and folders"},
    "clouds": {
        "nargs": "+",
        "help": "PLY, LAS, LAZ, NPZ or NPY files, folders of them, or folders of arrays with coord.npy",
    },
    "data": {"help": "a folder, or the file of a table"},
    "table": {"help": "CSV (may be gzipped) or Parquet file"},
    "networks": {"nargs": "+", "help": "names of metamixer or timm networks"},
    "source": {"help": "a checkpoint (.ckpt, .safetensors, or a published file with --model) or the name of a network"},
    "checkpoint": {"help": "a training checkpoint (.ckpt) or a deploy form (.safetensors)"},
}
LISTS = {
    "vs": {"type": str, "help": "other metamixer or timm networks to compare with"},
    "batch": {"type": int, "help": "batch sizes"},
    "sizes": {"type": int, "help": "image sides in pixels; default: each network's own"},
    "backends": {"type": str, "help": "backends; default: all installed ones except compile, which is slow to build"},
    "precisions": {"type": str, "help": "precisions: fp32, bf16, int8"},
    "shape": {"type": int, "help": "shape of one input, such as 1 3 64 64, for networks that don't define it"},
    "quantiles": {"type": float, "help": "quantiles to add to the forecast, such as 0.1 0.9"},
    "levels": {"type": float, "help": "coverage in percent of prediction intervals, such as 80 95"},
    "missing_values": {"type": float, "help": "numbers that mark a missing value, such as -9999"},
}
"""Options that take several values, as in --levels 80 95 or, in brackets, --levels "[80, 95]"."""

BROKEN_PIPE = 141
"""Exit status after SIGPIPE (128 + 13)."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `metamixer COMMAND ...` and return the exit code; errors print one line on standard error."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    commands = _commands()
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by who called, as in `metamixer models >&-`
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115  for as long as the process runs
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # file names outside the terminal's encoding
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_help())
        return 0
    if arguments[0] == "--version":
        from .system.version import package_version

        print(f"metamixer {package_version()}")
        return 0
    try:
        if arguments[0] not in commands:
            raise InputError(f"command {arguments[0]!r}, expected one of {', '.join(commands)}")
        with plain_warnings():
            commands[arguments[0]](arguments)
        sys.stdout.flush()
    except InputError as error:
        print(f"metamixer: error: {_one_line(error)}", file=sys.stderr)
        return USAGE_ERROR
    except DivergenceError as error:
        print(f"metamixer: error: {_one_line(error)}", file=sys.stderr)
        return DIVERGED
    except BrokenPipeError:  # the reader has closed the pipe, as `head` does; Python would flush to it at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except OSError as error:
        if error.strerror is None:  # not an error of the operating system
            raise
        print(
            printable(": ".join(["metamixer: error", *filter(None, [error.filename, error.strerror])])), file=sys.stderr
        )
        return USAGE_ERROR
    except MemoryError:
        print("metamixer: error: out of memory, expected smaller input or more memory", file=sys.stderr)
        return USAGE_ERROR
    except KeyboardInterrupt as interrupt:
        print(": ".join(["metamixer: interrupted", *map(str, interrupt.args)]), file=sys.stderr)
        return 130
    return 0


def _commands() -> dict[str, Callable[[list[str]], object]]:
    training = ("fit", "validate", "test")
    return {name: _train if name in training else _call for name in SUMMARIES}


def _train(arguments: list[str]) -> None:
    from .training.command_line import run

    run(_with_values(arguments, {"--resume"}))


def _call(arguments: list[str]) -> None:
    """Call the function of the command with the arguments that follow it; its first parameter is positional."""
    from inspect import signature

    from jsonargparse import ArgumentError, ArgumentParser

    name, *rest = arguments
    function = getattr(import_module(f".commands.{name}", __package__), name)
    parser = ArgumentParser(prog=f"metamixer {name}", description=function.__doc__.splitlines()[0], exit_on_error=False)
    parameters = signature(function).parameters
    positional = [key for key, parameter in parameters.items() if parameter.default is parameter.empty][:1]
    for key in positional:
        parser.add_argument(key, **POSITIONAL[key])
    lists = {key: list(parameters[key].default or ()) for key in parameters if key in LISTS}
    for key, default in lists.items():
        about = {**LISTS[key], "type": list[LISTS[key]["type"]]}
        parser.add_argument(f"--{key}", default=default, metavar=f"{key.upper()} ...", **about)
    parser.add_function_arguments(function, skip={*positional, *lists})
    flags = {f"--{key}" for key, parameter in parameters.items() if isinstance(parameter.default, bool)}
    try:
        options = parser.parse_args(_in_one_word(_with_values(_underscored(rest), flags), lists))
    except ArgumentError as error:
        raise InputError(" ".join(str(error).split()) + f"; see metamixer {name} --help") from None
    function(**vars(options))


def _underscored(arguments: Sequence[str]) -> list[str]:
    """Replace dashes in option names: `--max-drop` means `--max_drop`. Words after a bare `--` aren't options."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options = [
        re.sub("^--[^=]+", lambda name: "--" + name[0][2:].replace("-", "_"), argument) for argument in arguments[:end]
    ]
    return [*options, *arguments[end:]]


def _in_one_word(arguments: Sequence[str], lists: Container[str]) -> list[str]:
    """Join list options: `--levels 80 95`, `--levels=80` and `--levels "[80, 95]"` become `--levels=[80, 95]`.

    Values end at the next option; numbers also end at the first word that isn't a number, such as the table.
    """
    result, rest = [], list(arguments)
    while rest:
        argument = rest.pop(0)
        name, assigned, value = argument.partition("=")
        if argument == "--" or not (name.startswith("--") and name[2:] in lists):
            result.append(argument)
            if argument == "--":
                return [*result, *rest]
            continue
        values = [value] if assigned else [word for word in rest[:1] if not word.startswith("--")]
        if not values:
            result.append(argument)
            continue
        if not assigned:
            del rest[0]
        if values[0].startswith("["):
            result.append(f"{name}={values[0]}")
            continue
        text = LISTS[name[2:]]["type"] is str
        while (
            not assigned
            and rest
            and not rest[0].startswith("--")
            and (text or re.fullmatch(r"-?[\d.]+(e[+-]?\d+)?", rest[0]))
        ):
            values.append(rest.pop(0))
        result.append(f"{name}=[{', '.join(map(json.dumps, values) if text else values)}]")
    return result


def _with_values(arguments: Sequence[str], flags: Container[str]) -> list[str]:
    """Give bare flags a value: `--overwrite` means `--overwrite true`, whatever word follows."""
    following = [*arguments[1:], ""]
    return [
        f"{argument}=true" if argument in flags and after.lower() not in ("true", "false", "yes", "no") else argument
        for argument, after in zip(arguments, following, strict=False)
    ]


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Print our own warnings without the source location, which doesn't help the user."""
    before = warnings.formatwarning

    def plain(message: Warning | str, category: type[Warning], *place) -> str:
        return (
            f"metamixer: warning: {printable(message, keep=chr(10))}\n"
            if issubclass(category, InputWarning)
            else before(message, category, *place)
        )

    warnings.formatwarning = plain
    try:
        yield
    finally:
        warnings.formatwarning = before


def _help() -> str:
    lines = [f"  {name:10s}{summary}" for name, summary in SUMMARIES.items()]
    return "\n".join(["usage: metamixer COMMAND ...", "", *lines, "", "Run metamixer COMMAND --help for its options."])


def _one_line(error: Exception) -> str:
    """The message alone, also where it comes from a data loader's worker with that process's traceback before it."""
    text = str(error).strip()
    if "Traceback (most recent call last)" in text:
        text = text.split("Error: ")[-1]
    return printable(text)
