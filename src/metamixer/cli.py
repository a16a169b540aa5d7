"""The command line: a dictionary of functions; training goes through Lightning's."""

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
    "fit": "train by a recipe: metamixer fit --config recipes/classification/digits.yaml",
    "validate": "measure a checkpoint on the validation split",
    "test": "measure a checkpoint on the test split",
    **{task.command: task.summary for task in TASKS.values()},
    "fuse": "write a checkpoint's deploy form",
    "export": "write a checkpoint in another library's format, proved equal",
    "bench": "time networks in every form on this machine",
    "models": "list the networks with their sizes and the paper's accuracy",
    "draw": "draw a checkpoint: predictions, training curve, learned kernels",
}
"""The commands; each but the three of training is a function of its name in the module of its name in `commands`."""
POSITIONAL = {
    "images": {"nargs": "+", "help": "files and folders"},
    "clouds": {
        "nargs": "+",
        "help": "PLY, LAS, LAZ, NPZ or NPY files, folders of them, folders of arrays with coord.npy",
    },
    "table": {"help": "CSV (gzip too) or Parquet"},
    "networks": {"nargs": "+", "help": "networks by name, of metamixer or timm"},
    "source": {"help": "a checkpoint (.ckpt, .safetensors, or a published file with --model) or a network's name"},
    "checkpoint": {"help": "a file of a training run (.ckpt) or a deploy form (.safetensors)"},
}
LISTS = {
    "vs": {"type": str, "help": "other networks of metamixer or timm to time beside them"},
    "batch": {"type": int, "help": "batch sizes"},
    "sizes": {"type": int, "help": "sides of the images in pixels; none: each network's own"},
    "backends": {"type": str, "help": "backends; none: all that are installed but compile, which is slow to build"},
    "precisions": {"type": str, "help": "precisions of fp32, bf16, int8"},
    "shape": {"type": int, "help": "shape of one input, such as 1 3 64 64, for a network that doesn't tell it"},
    "levels": {"type": float, "help": "coverage in percent of intervals to give beside, such as 80 95"},
    "missing_values": {"type": float, "help": "numbers that stand for a missing value, such as -9999"},
}
"""Options that take several values after one name: --levels 80 95; one word in brackets, --levels "[80, 95]", means the
same.
"""

BROKEN_PIPE = 141
"""What a shell tells of a command that wrote to one which had ended."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `metamixer COMMAND ...`; wrong input is one line on standard error and exit code 2, a training that diverges
    3.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    commands = _commands()
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by who called, as in `metamixer models >&-`
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115  for as long as the process runs
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files that its encoding doesn't have
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_help())
        return 0
    if arguments[0] == "--version":
        from .checkpoints.ours import package_version

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
    except BrokenPipeError:  # who reads has seen enough, as `head` does; Python would write the rest at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except OSError as error:
        if error.strerror is None:  # not the system's word on a file
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
    """Give the arguments behind the command's name to the function of that name; its first parameter is positional."""
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
        raise InputError(" ".join(str(error).split()) + f"; metamixer {name} --help tells more") from None
    function(**vars(options))


def _underscored(arguments: Sequence[str]) -> list[str]:
    """`--max-drop` means `--max_drop`; what stands behind a bare `--` is no option."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options = [
        re.sub("^--[^=]+", lambda name: "--" + name[0][2:].replace("-", "_"), argument) for argument in arguments[:end]
    ]
    return [*options, *arguments[end:]]


def _in_one_word(arguments: Sequence[str], lists: Container[str]) -> list[str]:
    """`--levels 80 95`, `--levels=80` and `--levels "[80, 95]"` as `--levels=[80, 95]`.

    Values end at the next option; values that are numbers end at the first word that is none, such as the table.
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
    """`--overwrite` alone means `--overwrite true`; what stands behind it is not its value."""
    following = [*arguments[1:], ""]
    return [
        f"{argument}=true" if argument in flags and after.lower() not in ("true", "false", "yes", "no") else argument
        for argument, after in zip(arguments, following, strict=False)
    ]


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Print our own warnings without a place in the source, which tells nothing to who gave the file."""
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
    return "\n".join(["usage: metamixer COMMAND ...", "", *lines, "", "metamixer COMMAND --help tells more."])


def _one_line(error: Exception) -> str:
    """The message alone, also where it comes from a data loader's worker with that process's traceback before it."""
    text = str(error).strip()
    if "Traceback (most recent call last)" in text:
        text = text.split("Error: ")[-1]
    return printable(text)
