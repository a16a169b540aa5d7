"""A process of its own for what a foreign library decodes or runs: where that aborts, hangs or takes too much memory,
one file is lost and not this process.

`Worker(script)` starts this file as a program, which loads the script and answers with its function `answer(about,
parts)`. A message is a line of JSON, in which `sizes` lists the bytes of each part that follows. A script can't import
this package, because its process starts without it, and so starts fast.
"""

import atexit
import json
import math
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any, BinaryIO

PATIENCE = 10
"""How many times longer an answer may take on a busy machine than the CPU time that it may use."""

Message = tuple[dict[str, Any], list[bytes]]


WORKERS: "weakref.WeakSet[Worker]" = weakref.WeakSet()


def _renew_locks() -> None:
    """In a fork: a lock may be held by a thread that only its parent has."""
    for worker in WORKERS:
        worker.lock = threading.Lock()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_renew_locks)


class Worker:
    """A process that runs `script`, started when it is asked and again after it failed; any thread may ask.

    A fork, such as a worker of a data loader, starts a process of its own.
    """

    def __init__(self, script: str):
        self.script = script
        self.processes: dict[int, subprocess.Popen] = {}  # by the process that started it: pipes can't be shared
        self.lock = threading.Lock()
        WORKERS.add(self)
        atexit.register(self.end)

    @property
    def process(self) -> subprocess.Popen | None:
        """The process that this one has started."""
        return self.processes.get(os.getpid())

    def ask(self, about: dict[str, Any], *parts: bytes, seconds: float) -> Message | None:
        """Its answer; None where it ended or took too long: so much CPU time, or `PATIENCE` times that of waiting."""
        with self.lock:
            process = self.process or self._start()
            alarm = threading.Timer(PATIENCE * seconds, process.kill)
            alarm.daemon = True
            alarm.start()
            try:
                send(process.stdin, {**about, "seconds": seconds}, *parts)
                return receive(process.stdout)
            except (OSError, EOFError, ValueError):
                self.end()
                return None
            finally:
                alarm.cancel()

    def end(self) -> None:
        """Stop the process, unless another one started it."""
        process = self.processes.pop(os.getpid(), None)
        if process is not None:
            process.kill()
            process.communicate()

    def close(self) -> None:
        """Stop the process for good."""
        self.end()
        atexit.unregister(self.end)

    def _start(self) -> subprocess.Popen:
        process = self.processes[os.getpid()] = subprocess.Popen(
            [sys.executable, "-I", __file__, self.script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        return process


def send(stream: BinaryIO, about: dict[str, Any], *parts: bytes) -> None:
    """Write a message."""
    stream.write(json.dumps({**about, "sizes": [len(part) for part in parts]}).encode() + b"\n")
    for part in parts:
        stream.write(part)
    stream.flush()


def receive(stream: BinaryIO) -> Message:
    """Read a message; raises EOFError where the other side has ended."""
    line = stream.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    about = json.loads(line)
    sizes = about.pop("sizes")
    parts = [stream.read(size) for size in sizes]
    if [len(part) for part in parts] != sizes:
        raise EOFError
    return about, parts


def limit_memory(more: int) -> None:
    """Let allocations fail that take the process beyond what it has now and so many bytes more; nothing where the
    system has no such limit.
    """
    with suppress(ImportError, ValueError, OSError):
        import resource

        with open("/proc/self/statm") as file:
            held = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (held + more, resource.getrlimit(resource.RLIMIT_AS)[1]))


def limit_time(more: float) -> None:
    """Let the system end the process after so many seconds of CPU time more; nothing where it has no such limit."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        used = resource.getrusage(resource.RUSAGE_SELF)
        soft = math.ceil(used.ru_utime + used.ru_stime + more)
        resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def serve(answer: Callable[[dict[str, Any], list[bytes]], Message]) -> None:
    """Answer until the other side ends; errors of any kind are answers too."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    while True:
        try:
            about, parts = receive(sys.stdin.buffer)
        except EOFError:
            return
        try:
            limit_time(about["seconds"])
            if "memory" in about:
                limit_memory(about["memory"])
            told, contents = answer(about, parts)
        except OSError as error:
            told, contents = {"error": str(error), "errno": error.errno or 0}, []
        except BaseException as error:  # a panic of a decompressor is no Exception
            lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
            told, contents = {"error": f"{type(error).__name__}: {lines[0]}", "last": lines[-1]}, []
        send(output, told, *contents)


def main() -> None:
    """Serve with the function `answer` of the script that the command line names."""
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location("script", sys.argv[1])
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    serve(module.answer)


if __name__ == "__main__":
    main()
