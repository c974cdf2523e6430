"""Runs a step's GPU work as one CUDA graph, so the interpreter does not launch kernel by kernel."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from training.distributed import count_processes

WARM_UP_CALLS = 3  # calls without a graph; libraries choose kernels and optimizers allocate moments meanwhile


class CUDAGraphRunner:
    """Calls `fn(*inputs)`, which returns one tensor. On a CPU, and with several processes, it is a plain call.

    On a GPU the call is recorded once and then replayed. So everything but the inputs must keep its place in memory,
    inputs must keep their shapes, and `fn` must not wait for the GPU. It must not depend on a Python number that
    changes, such as a learning rate that is not a tensor.
    """

    def __init__(self, fn: Callable[..., Tensor]):
        self._fn = fn
        self._num_calls = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: list[Tensor] = []
        self._output = torch.empty(0)

    def __call__(self, *inputs: Tensor) -> Tensor:
        device = inputs[0].device
        if device.type != "cuda" or count_processes() > 1:
            return self._fn(*inputs)
        with torch.cuda.device(device):
            self._num_calls += 1
            if self._num_calls <= WARM_UP_CALLS:
                return self._warm_up(inputs)
            if self._graph is None:
                self._record(inputs)
            assert self._graph is not None
            for static, current in zip(self._inputs, inputs, strict=True):
                static.copy_(current)
            self._graph.replay()
            return self._output.clone()

    def _warm_up(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """Calls `fn` on a side stream, which PyTorch requires before a recording."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            output = self._fn(*inputs)
        torch.cuda.current_stream().wait_stream(stream)
        return output

    def _record(self, inputs: tuple[Tensor, ...]) -> None:
        self._inputs = [current.clone() for current in inputs]
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._output = self._fn(*self._inputs)
