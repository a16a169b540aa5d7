"""Ending all processes of a run when one of them fails."""

from multiprocessing.process import BaseProcess
from subprocess import Popen, TimeoutExpired

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from ..errors import DIVERGED, USAGE_ERROR, DivergenceError, InputError

SECONDS_TO_END = 5
"""Seconds to wait for a failed process to exit."""

ERRORS = {USAGE_ERROR: InputError, DIVERGED: DivergenceError}
"""Exit code of a process -> the error it ended with."""


class EndTogether(Callback):
    """End all processes of a run when one fails; the others would wait for it forever.

    Raises the InputError or DivergenceError of a started process, if this one fails only because of it.
    """

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        launcher = trainer.strategy.launcher
        if launcher is None or not isinstance(exception, Exception):  # Lightning handles interrupts
            return
        started = list(launcher.procs)
        # Otherwise Lightning's observer finds them dead and kills this process before it prints the reason.
        launcher.procs.clear()
        own = isinstance(exception, tuple(ERRORS.values()))
        error = None if own else next((ERRORS[code] for code in map(exit_code, started) if code in ERRORS), None)
        for process in started:
            process.kill()
        if error:
            raise error("another process of this run ended by the error above") from None


def exit_code(process: Popen | BaseProcess) -> int | None:
    """The exit code of a process that may be about to exit; None if it keeps running."""
    if isinstance(process, BaseProcess):  # of ddp_spawn and ddp_fork
        process.join(SECONDS_TO_END)
        return process.exitcode
    try:
        return process.wait(SECONDS_TO_END)
    except TimeoutExpired:
        return None
