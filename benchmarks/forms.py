"""Time the forms of a network in turn, each in a separate process, so that they don't share memory or allocator."""

import json
import resource
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence

Numbers = dict[str, float]


def serve(call: Callable[[], Numbers]) -> None:
    """In the process of a form: for each line of standard input, call once and print the result, with the peak memory
    of the process in GiB.
    """
    print("ready", flush=True)
    for _ in sys.stdin:
        numbers = call()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(json.dumps({**numbers, "peak_gib": peak}), flush=True)


def take_turns(
    script: str, forms: Mapping[str, dict], *, rounds: int, warmup: int = 1, arguments: Sequence[str] = ()
) -> dict[str, Numbers]:
    """Return each form's medians over the rounds, its speedup over the first form, and its peak memory.

    script: started with `arguments` and `--serve FORM`, the form as JSON; calls `serve` with a function whose numbers
    include "seconds". The first `warmup` rounds don't count.
    """
    command = [sys.executable, script, *arguments, "--serve"]
    servers = {
        name: subprocess.Popen([*command, json.dumps(form)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for name, form in forms.items()
    }
    for server in servers.values():
        server.stdout.readline()
    taken = {name: [] for name in forms}
    for i in range(warmup + rounds):
        for name, server in servers.items():
            server.stdin.write("\n")
            server.stdin.flush()
            numbers = json.loads(server.stdout.readline())
            if i >= warmup:
                taken[name].append(numbers)
    for server in servers.values():
        server.stdin.close()
        server.wait()
    first = taken[next(iter(forms))]
    return {name: {**_medians(numbers), "speed": _speed(first, numbers)} for name, numbers in taken.items()}


def _medians(numbers: Sequence[Numbers]) -> Numbers:
    return {key: statistics.median(each[key] for each in numbers) for key in numbers[0]}


def _speed(first: Sequence[Numbers], numbers: Sequence[Numbers]) -> float:
    return statistics.median(base["seconds"] / each["seconds"] for base, each in zip(first, numbers, strict=True))
