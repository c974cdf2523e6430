"""A GPU's work of a step as one graph: launched at once, not kernel by kernel at the pace of the interpreter."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

WARM_UP = 3  # calls without a graph, in which libraries choose their kernels and optimizers make their moments


class Captured:
    """`work(*inputs)` → one tensor. On a CPU it is just called.

    On a GPU its kernels are recorded once and then replayed. So all that it works on but its inputs must stay in its
    place in memory, inputs must keep their shapes, and nothing in it may wait for the GPU or depend on a number that
    the interpreter holds, such as a learning rate that is not a tensor.
    """

    def __init__(self, work: Callable[..., Tensor]):
        self._work = work
        self._calls = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: list[Tensor] = []
        self._told = torch.empty(0)

    def __call__(self, *inputs: Tensor) -> Tensor:
        device = inputs[0].device
        if device.type != "cuda":
            return self._work(*inputs)
        with torch.cuda.device(device):
            self._calls += 1
            if self._calls <= WARM_UP:
                return self._beside(inputs)
            if self._graph is None:
                self._record(inputs)
            assert self._graph is not None
            for held, given in zip(self._inputs, inputs, strict=True):
                held.copy_(given)
            self._graph.replay()
            return self._told.clone()

    def _beside(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """On a stream of its own, like the recording, as PyTorch asks for."""
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            told = self._work(*inputs)
        torch.cuda.current_stream().wait_stream(stream)
        return told

    def _record(self, inputs: tuple[Tensor, ...]) -> None:
        self._inputs = [given.clone() for given in inputs]
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._told = self._work(*self._inputs)
