"""Training in several processes, one for each GPU, as `torchrun` starts them. In one process nothing here has effect.

Rank 0 leads: it decides on phases, stops and checkpoints, and sends a command before each step. The others follow
(`training/follower.py`). Every process draws batches of its own. `average_gradients` is the only place where gradients
meet, so a step is that of one process whose batch is as large as all together.

A process that dies closes its connections. Whoever waits for it then gets PeerLostError, and ends as well.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from enum import IntEnum
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist

# Decoding photos and evaluating take rank 0 alone minutes to hours. A hung training is ended by its job's lease.
TIMEOUT = timedelta(days=7)


class Command(IntEnum):
    """What rank 0 asks all others to do next."""

    JOINT_STEP = 0
    SR_STEP = 1
    TAKE_DEGRADATION = 2  # receive rank 0's degradation
    SEND_GENERATORS = 3  # send the states of the random number generators, for a checkpoint
    FINISH = 4
    STOP = 5


class PeerLostError(RuntimeError):
    """Another process of this training ended, so this one cannot continue either."""


@contextmanager
def process_group(device: str) -> Iterator[str]:
    """Joins the other processes that torchrun started. Yields this process's device: its own GPU for "cuda".

    Without torchrun it yields `device`. Raises ValueError if there are fewer GPUs than processes.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield device
        return
    backend = "gloo"
    if device.startswith("cuda"):
        local_rank, gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if local_rank >= gpus:
            raise ValueError(
                f"Process {local_rank + 1} of this computer has no GPU; it has {gpus}. Start {gpus} at most."
            )
        device, backend = f"cuda:{local_rank}", "cpu:gloo,cuda:nccl"
        torch.cuda.set_device(device)
    with translate_errors():
        dist.init_process_group(backend, timeout=TIMEOUT)
    try:
        yield device
    finally:
        with suppress(RuntimeError):  # the others may be gone
            dist.destroy_process_group()


def get_rank() -> int:
    """Returns the number of this process, from 0 on."""
    return dist.get_rank() if dist.is_initialized() else 0


def count_processes() -> int:
    """Returns the number of processes of this training."""
    return dist.get_world_size() if dist.is_initialized() else 1


def average_gradients(optimizer: torch.optim.Optimizer) -> None:
    """Replaces the gradients of the optimizer's parameters by their mean over all processes."""
    if count_processes() == 1:
        return
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    means = average(torch.cat([gradient.flatten() for gradient in gradients]))  # one transfer is faster than many
    parts = means.split([gradient.numel() for gradient in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))


def average(tensor: Tensor) -> Tensor:
    """Returns the mean of a tensor over all processes. No gradient passes."""
    if count_processes() == 1:
        return tensor
    mean = tensor.detach().clone()
    with translate_errors():
        dist.all_reduce(mean)
    return mean / count_processes()


def send_command(command: Command, progress: float = 0.0) -> None:
    """Sends a command, and the phase's progress (0..1) for a step, from rank 0 to all others."""
    if count_processes() > 1:
        _broadcast(torch.tensor([command, progress], dtype=torch.float64))


def receive_command() -> tuple[Command, float]:
    """Waits for rank 0's next command. Returns it with the phase's progress."""
    message = torch.zeros(2, dtype=torch.float64)
    _broadcast(message)
    command, progress = message.tolist()
    return Command(int(command)), progress


@contextmanager
def leading() -> Iterator[None]:
    """Tells the other processes when rank 0 ends the training: in order, or by an error."""
    try:
        yield
    except BaseException:
        with suppress(PeerLostError):
            send_command(Command.STOP)
        raise
    send_command(Command.FINISH)


def share_weights(*networks: nn.Module) -> None:
    """Copies rank 0's parameters and buffers into the networks of all others. Every process calls it."""
    if count_processes() == 1:
        return
    with torch.no_grad():
        for network in networks:
            for tensor in network.state_dict().values():
                contiguous = tensor.contiguous().clone()
                _broadcast(contiguous)
                tensor.copy_(contiguous)


def share_object(value: Any = None) -> Any:
    """Returns rank 0's `value`, an object that can be pickled, in every process."""
    if count_processes() == 1:
        return value
    values = [value]
    with translate_errors():
        dist.broadcast_object_list(values, device=torch.device("cpu"))
    return values[0]


def gather_generators(generators: Mapping[str, torch.Generator]) -> dict[str, Tensor]:
    """Returns the states of the other processes' generators as tensors for a checkpoint. Empty but in rank 0.

    Rank 0 may call it at any time; it commands the others to call it, too.
    """
    if count_processes() == 1:
        return {}
    if get_rank() == 0:
        send_command(Command.SEND_GENERATORS)
    own = torch.stack([generator.get_state() for generator in generators.values()])
    states = [torch.empty_like(own) for _ in range(count_processes())]
    with translate_errors():
        dist.all_gather(states, own)
    if get_rank():
        return {}
    return {
        _generator_key(name, rank): state
        for rank, of_rank in enumerate(states)
        for name, state in zip(generators, of_rank, strict=True)
        if rank
    }


def set_generators(
    generators: Mapping[str, torch.Generator], saved: Mapping[str, Tensor], seed: int, step: int
) -> None:
    """Sets the generators of a rank above 0, which so far have rank 0's states.

    They get those in a checkpoint's tensors. If an attempt without this rank `saved` it, they are seeded by seed, rank
    and step, so that no batch is drawn twice.
    """
    rank = get_rank()
    if not rank:
        return
    for name, generator in generators.items():
        if (state := saved.get(_generator_key(name, rank))) is not None:
            generator.set_state(state)
        else:
            digest = hashlib.sha256(f"{seed}/{name}/{rank}/{step}".encode()).digest()
            generator.manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def _generator_key(name: str, rank: int) -> str:
    return f"generator.{name}.{rank}"


def _broadcast(tensor: Tensor) -> None:
    with translate_errors():
        dist.broadcast(tensor, 0)


@contextmanager
def translate_errors() -> Iterator[None]:
    """Raises PeerLostError for an error of the communication inside."""
    try:
        yield
    except RuntimeError as error:
        raise PeerLostError(f"Another process of this training ended: {error}") from error
