"""The contenders of `training_step.py`: the loops whose steps are timed, and the pipe by which they take turns."""

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

if TYPE_CHECKING:
    import lightning

CLASSES = 1000
BATCHES = 4
LEARNING_RATE, WEIGHT_DECAY, SMOOTHING = 1e-3, 0.05, 0.1


def batches(options: argparse.Namespace) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """A few labeled batches, the same for every contender."""
    generator = torch.Generator().manual_seed(0)
    shape = (options.batch, 3, options.size, options.size)
    return [
        (torch.randn(shape, generator=generator), torch.randint(CLASSES, shape[:1], generator=generator))
        for _ in range(BATCHES)
    ]


def network(options: argparse.Namespace) -> torch.nn.Module:
    """The network with its initial weights."""
    from metamixer import create_model

    torch.manual_seed(0)
    return create_model(options.model, num_classes=CLASSES).train()


def plain(options: argparse.Namespace, pipe: Connection) -> None:
    """The loop of a PyTorch tutorial."""
    from timm.optim import create_optimizer_v2

    model = network(options).to(options.device)
    optimizer = create_optimizer_v2(model, opt="adamw", lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    for images, labels in turns(pipe, options):
        loss = F.cross_entropy(model(images), labels, label_smoothing=SMOOTHING)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        report(pipe, loss)


def timm_loop(options: argparse.Namespace, pipe: Connection, *, fast: bool = False) -> None:
    """The inner loop of timm's train.py, with its task, optimizer and loss meter.

    fast: with its options `--amp --amp-dtype bfloat16 --channels-last --torchcompile`.
    """
    from timm.optim import create_optimizer_v2
    from timm.task import ClassificationTask
    from timm.utils import AverageMeter

    layout = torch.channels_last if fast else torch.contiguous_format
    model = network(options).to(options.device, memory_format=layout)
    if fast:
        model.compile()
    task = ClassificationTask(
        model, criterion_kwargs={"smoothing": SMOOTHING}, device=torch.device(options.device), verbose=False
    )
    optimizer = create_optimizer_v2(model, opt="adamw", lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    losses = AverageMeter()
    optimizer.zero_grad()
    for images, labels in turns(pipe, options):
        with torch.autocast(options.device, torch.bfloat16, enabled=fast):
            loss = task(images.contiguous(memory_format=layout), labels)["loss"]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.update(loss.item(), images.size(0))
        report(pipe, loss)


def fit(
    options: argparse.Namespace,
    pipe: Connection,
    *,
    precision: str = "32-true",
    compile: bool | str = False,
    kernels: bool = False,
    layout: torch.memory_format | None = None,
    benchmark: bool = False,
) -> None:
    """`metamixer fit`: the task and the Trainer, with the settings of the command; kernels: with `ops.accelerate`.

    layout: another than the one that `fit` chooses; benchmark: cuDNN tries its algorithms.
    """
    import lightning as L
    from torch.utils.data import DataLoader

    import metamixer.tasks.task
    from metamixer.ops import accelerate
    from metamixer.tasks import Classification, Optimization
    from metamixer.training.command_line import use_fast_settings

    use_fast_settings()
    torch.manual_seed(0)
    optimization = Optimization(lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, warmup_epochs=0, schedule="constant")
    task = Classification(
        options.model,
        CLASSES,
        optimization=optimization,
        label_smoothing=SMOOTHING,
        mixup=0.0,
        cutmix=0.0,
        compile=compile,
    )
    if kernels:
        accelerate(task.network)
    if layout:
        metamixer.tasks.task.fastest_layout = lambda device, precision: layout
    trainer = L.Trainer(
        max_epochs=1,
        precision=precision,
        benchmark=benchmark,
        accelerator=options.device,
        callbacks=[turn_by_turn(pipe)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    endless = batches(options) * 1000
    with stopping():
        trainer.fit(task, DataLoader(endless, batch_size=None))


def turn_by_turn(pipe: Connection) -> "lightning.Callback":
    """Lightning's callback that times a step from the start of this contender's turn to where the next would start."""
    import lightning

    class Turns(lightning.Callback):
        loss = None

        def on_train_batch_start(self, trainer, task, batch, index) -> None:
            if self.loss is not None:
                report(pipe, self.loss)
            if not wait(pipe):
                raise KeyboardInterrupt

        def on_train_batch_end(self, trainer, task, outputs, batch, index) -> None:
            self.loss = outputs["loss"]

    return Turns()


CONTENDERS: dict[str, tuple[Callable, dict]] = {
    "plain PyTorch, fp32": (plain, {}),
    "timm's loop, fp32": (timm_loop, {}),
    "metamixer fit": (fit, {}),
    "metamixer fit --trainer.precision bf16-mixed": (fit, {"precision": "bf16-mixed"}),
    "metamixer fit, compile: true": (fit, {"compile": True}),
    "metamixer fit, compile: true, bf16-mixed": (fit, {"precision": "bf16-mixed", "compile": True}),
    "metamixer fit, channels-last": (fit, {"layout": torch.channels_last}),
    "metamixer fit, NCHW, bf16-mixed": (fit, {"precision": "bf16-mixed", "layout": torch.contiguous_format}),
    "metamixer fit, benchmark: true, bf16-mixed": (fit, {"precision": "bf16-mixed", "benchmark": True}),
    "metamixer fit, compile: reduce-overhead, bf16-mixed": (
        fit,
        {"precision": "bf16-mixed", "compile": "reduce-overhead"},
    ),
    "metamixer fit, kernels, bf16-mixed": (fit, {"precision": "bf16-mixed", "kernels": True}),
    "metamixer fit, kernels, compile: true, bf16-mixed": (
        fit,
        {"precision": "bf16-mixed", "kernels": True, "compile": True},
    ),
    "timm's loop, bf16, compiled": (timm_loop, {"fast": True}),
}
"""Title -> function of (options, pipe) and its keyword arguments."""


def turns(pipe: Connection, options: argparse.Namespace) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield a batch each time it is this contender's turn."""
    data = batches(options)
    index = 0
    while wait(pipe):
        images, labels = data[index % BATCHES]
        yield images.to(options.device), labels.to(options.device)
        index += 1


def wait(pipe: Connection) -> bool:
    """Wait for the next turn; return False if there is none."""
    go = pipe.recv()
    wait.start = time.perf_counter()
    return go


def report(pipe: Connection, loss: torch.Tensor) -> None:
    """Send the seconds since the start of the turn, and the loss."""
    value = loss.item()
    taken = time.perf_counter() - wait.start
    pipe.send((taken, value, torch.cuda.max_memory_allocated() if loss.is_cuda else 0))


@contextmanager
def stopping() -> Iterator[None]:
    """End a contender by the interrupt on which Lightning ends the process."""
    with suppress(KeyboardInterrupt, SystemExit):
        yield


def contend(title: str, options: argparse.Namespace, pipe: Connection) -> None:
    """Start the process of a contender."""
    torch.set_num_threads(options.threads)
    function, keywords = CONTENDERS[title]
    function(options, pipe, **keywords)
