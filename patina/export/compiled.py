"""Exports a model as a program that needs none of Patina's code: `torch.export` (.pt2) and ONNX.

Random numbers are inputs, so a program returns the same output for the same inputs in any runtime.
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
MAX_SIDE = 4096  # low-resolution pixels


class ExplicitDegrader(nn.Module):
    """A degradation whose random numbers are inputs.

    hr (1, 3, s·h, s·w) in [0, 1] and the latents of `latent_names` give lr (1, 3, h, w), kernel (1, K, K) and noise.
    h and w are at least `min_lr_side`. If the model compresses with JPEG, they are multiples of `unit` of
    its bank, mostly 16, and at least 32.
    """

    def __init__(self, degradation: Degradation) -> None:
        super().__init__()
        self.degradation = degradation

    def forward(self, hr: Tensor, *latents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        inputs = dict(zip(latent_names(self.degradation), latents, strict=True))
        empty = hr.new_zeros(1, 0, 1, 1)
        drawn = Latents(
            inputs["z_kernel"],
            inputs.get("z_noise", empty),
            inputs.get("white", empty),
            inputs.get("compression", torch.zeros(1, dtype=torch.long)),
        )
        lr, kernel, noise = self.degradation(self._pad(hr), drawn, padded_input=True)
        return quantize_ste(lr), kernel, noise

    def _pad(self, hr: Tensor) -> Tensor:
        """Reflects hr with an operation of every runtime. For images larger than a kernel it is the same."""
        config, (top, left) = self.degradation.config, self.degradation.kernel_origin
        beyond = config.kernel.size - config.scale
        return functional.pad(hr, (-left, beyond + left, -top, beyond + top), mode="reflect")


def min_lr_side(degradation: Degradation) -> int:
    """Returns the smallest h and w: 8, or more where the kernel would reach across the whole image."""
    config, top = degradation.config, degradation.kernel_origin[0]
    reach = max(-top, config.kernel.size - config.scale + top)  # in high-resolution pixels
    return max(8, reach // config.scale + 1)


def latent_names(degradation: Degradation) -> list[str]:
    """Returns the names of the inputs after hr. Inputs that the model does not use are left out.

    z_kernel (1, z, 1, 1), z_noise (1, z, 1 or h, 1 or w) and `white` (1, 3, h + 2·margin, w + 2·margin) are standard
    normal. `compression` (1,) is an index in the model's list of compressions.
    """
    noise = degradation.config.noise
    names = ["z_kernel"]
    names += ["z_noise"] if noise else []
    names += ["white"] if noise and noise.num_filters else []
    names += ["compression"] if not degradation.compression.is_empty else []
    return names


def example_inputs(degradation: Degradation, height: int = 32, width: int = 48, seed: int = 0) -> dict[str, Tensor]:
    """Returns random inputs by name, for a low-resolution image of height × width."""
    generator = torch.Generator().manual_seed(seed)
    scale = degradation.config.scale
    drawn = degradation.draw_latents(1, (height, width), generator)
    latents = {
        "z_kernel": drawn.kernel,
        "z_noise": drawn.noise,
        "white": drawn.white_noise,
        "compression": drawn.compression,
    }
    hr = torch.rand(1, 3, scale * height, scale * width, generator=generator)
    return {"hr": hr} | {name: latents[name] for name in latent_names(degradation)}


def export_degrader(degradation: Degradation) -> ExportedProgram:
    """Exports an `ExplicitDegrader`, for images of any size up to MAX_SIDE."""
    inputs = example_inputs(degradation)
    config, noise = degradation.config, degradation.config.noise
    rows, cols = (
        unit * Dim(name, min=max(2, -(-min_lr_side(degradation) // unit)), max=MAX_SIDE // unit)
        for name, unit in zip(("rows", "cols"), degradation.compression.unit, strict=True)
    )
    dynamic: dict[str, Any] = {
        "hr": {2: config.scale * rows, 3: config.scale * cols},
        "z_noise": {2: rows, 3: cols} if noise and noise.spatial else {},
        "white": {2: rows + 2 * noise.margin, 3: cols + 2 * noise.margin} if noise and noise.margin else {},
    }
    shapes = (dynamic["hr"], tuple(dynamic.get(name, {}) for name in latent_names(degradation)))
    with torch.no_grad():
        return torch.export.export(
            ExplicitDegrader(degradation).eval(), tuple(inputs.values()), dynamic_shapes=shapes, strict=False
        )


def export_edsr(edsr: EDSR) -> ExportedProgram:
    """Exports an EDSR: lr (B, 3, h, w) in [0, 1] gives sr (B, 3, s·h, s·w)."""
    shapes = ({0: Dim("batch"), 2: Dim("rows", min=8, max=MAX_SIDE), 3: Dim("cols", min=8, max=MAX_SIDE)},)
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
        raise PatinaError("ONNX files need onnx and onnxscript. Run: pip install 'patina[export]'") from error
