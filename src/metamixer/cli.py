"""The command line `metamixer COMMAND`: training runs through LightningCLI, every other command is a function."""

import io
import json
import os
import re
import sys
import warnings
from collections.abc import Collection, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from .commands import COMMANDS, TRAINING
from .commands.downloads import downloaded, refuse_no_files, with_urls
from .commands.help import completing_parser, full_help, function_of, options_of, overview, short_help
from .errors import DIVERGED, USAGE_ERROR, DivergenceError, InputError, InputWarning, did_you_mean, printable
from .system.version import package_version

HELP = ("-h", "--help")
SHELLS = ("bash", "zsh", "fish")

BROKEN_PIPE = 141
"""Exit status after SIGPIPE (128 + 13)."""

BOOLEANS = ("true", "false", "yes", "no")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `metamixer COMMAND ...` and return the exit code; errors print one line on standard error."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by who called, as in `metamixer models >&-`
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115  for as long as the process runs
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # file names outside its encoding
    if "_ARGCOMPLETE" in os.environ:
        _complete()
    try:
        with plain_warnings():
            _answer(arguments)
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


def _answer(arguments: list[str]) -> None:
    """Print help, the version or shell completion code, or run a command."""
    command, *rest = arguments or ["--help"]
    if command in HELP:
        print(overview())
    elif command == "--version":
        print(f"metamixer {package_version()}")
    elif command == "--completion":
        print(_shell_code(*rest))
    elif command not in COMMANDS:
        meant = did_you_mean(command, COMMANDS, cutoff=0.5)
        raise InputError(f"command {command!r}, expected one of {', '.join(COMMANDS)}{meant}")
    elif rest in (["-h"], ["--help"]):
        print(short_help(command))
    elif command in TRAINING:
        _train([command, "--help"] if rest in (["-h", "all"], ["--help", "all"]) else arguments)
    elif any(word in HELP for word in rest):
        print(full_help(command) if "all" in rest else short_help(command))
    else:
        _call(command, rest)


def _complete() -> None:
    """Answer the shell's request for completions, and exit."""
    import argcomplete

    argcomplete.autocomplete(completing_parser())


def _shell_code(shell: str = "bash", *others: str) -> str:
    """The code that a shell evaluates to complete `metamixer`."""
    import argcomplete

    if shell not in SHELLS or others:
        raise InputError(f"--completion {' '.join([shell, *others])}, expected one of {', '.join(SHELLS)}")
    return argcomplete.shellcode(["metamixer"], shell=shell)


def _train(arguments: list[str]) -> None:
    from .commands.training import run_recipe

    run_recipe(_with_values(arguments, {"--resume"}, (*BOOLEANS, "auto")))


def _call(command: str, words: list[str]) -> None:
    """Parse the words after a command's name and call its function."""
    from inspect import Parameter

    from jsonargparse import ArgumentError, ArgumentParser

    options = options_of(command)
    words = _without_negations(_underscored(words), {option.name for option in options if option.default is True})
    _refuse_unknown(command, words, {f"--{option.name}" for option in options if not option.positional})
    parser = ArgumentParser(prog=f"metamixer {command}", exit_on_error=False)
    lists = {option.name: option.item for option in options if option.item}
    for option in options:
        if option.positional:
            parser.add_argument(option.name, **({"nargs": "+"} if option.item else {}))
        elif option.item:
            parser.add_argument(f"--{option.name}", default=list(option.default or ()), type=list[option.item])
        else:
            required = option.default is Parameter.empty
            default = {"required": True} if required else {"default": option.default}
            parser.add_argument(f"--{option.name}", type=option.kind, **default)
    for option in options:
        if isinstance(option.default, bool):
            words = _with_values(words, {f"--{option.name}"}, (*BOOLEANS, *option.words))
    try:
        values = parser.parse_args(_in_one_word(words, lists))
    except ArgumentError as error:
        usages = {option.name: option.usage for option in options}
        raise InputError(f"{_plain(error, command, usages)}; see metamixer {command} --help") from None
    refuse_no_files(vars(values))
    _refuse_empty(vars(values), given={word.partition("=")[0].removeprefix("--") for word in words})
    with downloaded(vars(values)) as arguments:
        function_of(command)(**arguments)


def _plain(error: Exception, command: str, usages: Mapping[str, str]) -> str:
    """The parser's message in one line; usages: how each option is typed."""
    message = " ".join(str(error).split())
    missing = re.search("arguments are required: (.*)", message)
    if missing is None:
        from .training.messages import plain

        return plain(message, usages)
    names = [name.strip("- ") for name in missing[1].split(",")]
    return f"{command} needs {' and '.join(usages.get(name, name) for name in names)}"


def _refuse_unknown(command: str, words: Sequence[str], known: Collection[str]) -> None:
    """Raise InputError for an unknown option, abbreviations included; the message suggests the nearest one."""
    end = words.index("--") if "--" in words else len(words)
    for word in words[:end]:
        name = word.partition("=")[0]
        if name.startswith("--") and name not in known:
            raise InputError(f"{command} {name}: no such option{did_you_mean(name, known, cutoff=0.5)}")


def _refuse_empty(values: Mapping[str, Any], given: Collection[str]) -> None:
    """Raise InputError for a given option without a value, as where a script's variable isn't set."""
    for name, value in values.items():
        if value == "" or (value == [] and name in given):
            raise InputError(f"{name} '', expected a value, or no --{name}")


def _underscored(arguments: Sequence[str]) -> list[str]:
    """Replace dashes in option names: `--max-drop` means `--max_drop`. Words after a bare `--` aren't options."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options = [
        re.sub("^--[^=]+", lambda name: "--" + name[0][2:].replace("-", "_"), argument) for argument in arguments[:end]
    ]
    return [*options, *arguments[end:]]


def _without_negations(words: Sequence[str], flags: Collection[str]) -> list[str]:
    """`--no_overlays` means `--overlays=false`, for flags that are on by default."""
    negations = {f"--no_{name}": f"--{name}=false" for name in flags}
    return [negations.get(word, word) for word in words]


def _in_one_word(arguments: Sequence[str], lists: Mapping[str, type]) -> list[str]:
    """Join list options: `--levels 80 95`, `--levels=80` and `--levels "[80, 95]"` become `--levels=[80, 95]`.

    lists: the type of each option's values. Values end at the next option; numbers also end at the first word that
    isn't a number, such as the table.
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
        text = lists[name[2:]] is str
        while (
            not assigned
            and rest
            and not rest[0].startswith("--")
            and (text or re.fullmatch(r"-?[\d.]+(e[+-]?\d+)?", rest[0]))
        ):
            values.append(rest.pop(0))
        result.append(f"{name}=[{', '.join(map(json.dumps, values) if text else values)}]")
    return result


def _with_values(arguments: Sequence[str], flags: Container[str], values: Container[str] = BOOLEANS) -> list[str]:
    """Give bare flags a value: `--overwrite` means `--overwrite true`, whatever word follows."""
    following = [*arguments[1:], ""]
    return [
        f"{argument}=true" if argument in flags and after.lower() not in values else argument
        for argument, after in zip(arguments, following, strict=False)
    ]


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Print our own warnings once each, without the source location, which doesn't help the user."""
    before, printed = warnings.formatwarning, set()

    def plain(message: Warning | str, category: type[Warning], *place) -> str:
        if not issubclass(category, InputWarning):
            return before(message, category, *place)
        line = f"metamixer: warning: {printable(with_urls(str(message)), keep=chr(10))}\n"
        if line in printed:
            return ""
        printed.add(line)
        return line

    warnings.formatwarning = plain
    try:
        yield
    finally:
        warnings.formatwarning = before


def _one_line(error: Exception) -> str:
    """The message alone, also where it comes from a data loader's worker with that process's traceback before it."""
    text = str(error).strip()
    if "Traceback (most recent call last)" in text:
        text = text.split("Error: ")[-1]
    return printable(text)
