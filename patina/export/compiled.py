"""A model as a program that needs none of Patina's code: `torch.export` (.pt2) and ONNX.

What is random is an input, so that a program gives the same numbers for the same inputs wherever it runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.nn import functional

from models.degradation import Degradation, Latents
from models.losses import quantize_ste
from models.networks.edsr import EDSR
from patina.errors import PatinaError

OPSET = 20
LARGEST = 4096  # low-resolution pixels a side


class ExplicitDegrader(nn.Module):
    """hr (1, 3, s·h, s·w) in [0, 1] and the latents of `latent_names` → lr (1, 3, h, w), kernel (1, K, K), noise.

    h and w are at least 8; where the model compresses, they are multiples of 16, from 32.
    """

    def __init__(self, degradation: Degradation) -> None:
        super().__init__()
        self.degradation = degradation

    def forward(self, hr: Tensor, *latents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        given = dict(zip(latent_names(self.degradation), latents, strict=True))
        nothing = hr.new_zeros(1, 0, 1, 1)
        drawn = Latents(
            given["z_kernel"],
            given.get("z_noise", nothing),
            given.get("white", nothing),
            given.get("quality", hr.new_full((1,), 100.0)),
        )
        lr, kernel, noise = self.degradation(self._surrounded(hr), drawn, padded_input=True)
        return quantize_ste(lr), kernel, noise

    def _surrounded(self, hr: Tensor) -> Tensor:
        """Reflected by an operation that every runtime knows, which is the same for images larger than a kernel."""
        config, (top, left) = self.degradation.config, self.degradation.kernel_origin
        beyond = config.kernel.size - config.scale
        return functional.pad(hr, (-left, beyond + left, -top, beyond + top), mode="reflect")


def latent_names(degradation: Degradation) -> list[str]:
    """The inputs beside hr; those that the model does not look at are left out.

    z_kernel (1, z, 1, 1), z_noise (1, z, 1 or h, 1 or w) and `white` (1, 3, h + 2m, w + 2m) are normal; `quality` (1,)
    is that of JPEG, 100 for none.
    """
    noise = degradation.config.noise
    names = ["z_kernel"]
    names += ["z_noise"] if noise else []
    names += ["white"] if noise and noise.num_filters else []
    names += ["quality"] if degradation.config.jpeg_qualities else []
    return names


def example(degradation: Degradation, height: int = 32, width: int = 48, seed: int = 0) -> dict[str, Tensor]:
    """Inputs by name, for an lr of height × width."""
    generator = torch.Generator().manual_seed(seed)
    scale = degradation.config.scale
    drawn = degradation.draw_latents(1, (height, width), generator)
    by_name = {
        "z_kernel": drawn.kernel,
        "z_noise": drawn.noise,
        "white": drawn.white_noise,
        "quality": drawn.jpeg_quality,
    }
    hr = torch.rand(1, 3, scale * height, scale * width, generator=generator)
    return {"hr": hr} | {name: by_name[name] for name in latent_names(degradation)}


def degrader_program(degradation: Degradation) -> ExportedProgram:
    inputs = example(degradation)
    config, noise = degradation.config, degradation.config.noise
    unit = 16 if config.jpeg_qualities else 1
    rows, cols = (unit * Dim(name, min=max(2, 8 // unit), max=LARGEST // unit) for name in ("rows", "cols"))
    sides: dict[str, Any] = {
        "hr": {2: config.scale * rows, 3: config.scale * cols},
        "z_noise": {2: rows, 3: cols} if noise and noise.spatial else {},
        "white": {2: rows + 2 * noise.margin, 3: cols + 2 * noise.margin} if noise and noise.margin else {},
    }
    shapes = (sides["hr"], tuple(sides.get(name, {}) for name in latent_names(degradation)))
    with torch.no_grad():
        return torch.export.export(
            ExplicitDegrader(degradation).eval(), tuple(inputs.values()), dynamic_shapes=shapes, strict=False
        )


def edsr_program(edsr: EDSR) -> ExportedProgram:
    """lr (B, 3, h, w) in [0, 1] → sr (B, 3, s·h, s·w)."""
    shapes = ({0: Dim("batch"), 2: Dim("rows", min=8, max=LARGEST), 3: Dim("cols", min=8, max=LARGEST)},)
    with torch.no_grad():
        return torch.export.export(edsr.eval(), (torch.rand(2, 3, 24, 32),), dynamic_shapes=shapes, strict=False)


def save_program(program: ExportedProgram, path: Path) -> None:
    torch.export.save(program, path)


def save_onnx(program: ExportedProgram, path: Path, inputs: list[str], outputs: list[str]) -> None:
    try:
        torch.onnx.export(
            program,
            f=path,
            dynamo=True,
            input_names=inputs,
            output_names=outputs,
            opset_version=OPSET,
            external_data=False,
            optimize=False,
            verbose=False,
        )
    except ImportError as error:
        raise PatinaError("ONNX needs two packages: pip install 'patina[export]'") from error
