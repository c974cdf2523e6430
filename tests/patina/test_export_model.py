"""A model in other forms gives the same numbers in their own runtimes, and its banks are read by those they are for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from scipy.io import loadmat

from models.checkpoint import load_degradation, load_edsr, save_degradation
from models.degradation import Degradation
from models.losses import quantize_ste
from patina.export.compiled import example
from patina.export.model import export_model
from patina.export.model_formats import ModelFormat
from patina.export.samples import SampleCounts
from tests.patina.conftest import Trained, Up

STEPS = 3
SIZES = [(96, 128), (128, 64)]  # of the low-resolution image; a model that compresses takes multiples of 16


@pytest.fixture(scope="module")
def exported(service: Up, trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Banks by the command line. Programs, whose graphs take long, of kernels that are centred in fewer steps; the
    degradation compresses what it makes."""
    folder = tmp_path_factory.mktemp("exported") / "model"
    banks = ("--as", "npz", "--as", "mat", "--kernels", "70", "--noises", "5", "--patch", "24", "--seed", "3")
    done = service.command("export-model", trained.model, "--out", str(folder), *banks, "--json")
    assert done.returncode == 0, done.stderr
    own = [folder / name for name in ("degrader.safetensors", "sr.safetensors")]
    made = [folder / name for name in ("kernels.npz", "kernels.mat", "noise.npz", "noise.mat")]
    assert json.loads(done.stdout) == {"model": trained.model, "files": [str(file) for file in own + made]}
    compressing = load_degradation(own[0])
    compressing.config = replace(compressing.config, jpeg_qualities=(60, 75))
    save_degradation(compressing, folder / "compressing.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("models.networks.kernel.NEWTON_STEPS", STEPS)
        forms = [ModelFormat.onnx, ModelFormat.torch]
        programs = export_model(folder / "compressing.safetensors", own[1], folder, forms, SampleCounts(), seed=0)
        assert [file.name for file in programs] == ["degrader.pt2", "degrader.onnx", "sr.pt2", "sr.onnx"]
    return folder


@pytest.fixture
def degradation(exported: Path, monkeypatch: pytest.MonkeyPatch) -> Degradation:
    monkeypatch.setattr("models.networks.kernel.NEWTON_STEPS", STEPS)
    return load_degradation(exported / "compressing.safetensors")


def assert_same_triplet(
    ours: tuple[torch.Tensor, ...], theirs: Sequence[NDArray[np.float32]], share: float, levels: float
) -> None:
    """But for a share of the pixels, and for so many levels on average."""
    lr, kernel, noise = (tensor.numpy() for tensor in ours)
    np.testing.assert_allclose(theirs[1], kernel, atol=1e-5)
    # Sums in another order may round a pixel, or a coefficient of JPEG's and so a whole block, to its other side.
    off = np.abs(255 * (theirs[0] - lr))
    assert off.mean() < levels
    assert np.mean(off > 0.5) < share
    assert np.mean(np.abs(255 * (theirs[2] - noise)) > 0.01) < share


def test_degrader_programs(exported: Path, degradation: Degradation) -> None:
    program = torch.export.load(exported / "degrader.pt2").module()
    session = onnxruntime.InferenceSession(exported / "degrader.onnx", providers=["CPUExecutionProvider"])
    assert [given.name for given in session.get_inputs()] == ["hr", "z_kernel", "z_noise", "white", "quality"]
    assert [output.name for output in session.get_outputs()] == ["lr", "kernel", "noise"]
    for seed, (height, width) in enumerate(SIZES):
        inputs = example(degradation, height, width, seed)
        latents = degradation.draw_latents(1, (height, width), torch.Generator().manual_seed(seed))
        with torch.no_grad():
            lr, kernel, noise = degradation(inputs["hr"], latents)  # which reflects the image by itself
            again = program(*inputs.values())
        expected = quantize_ste(lr), kernel, noise
        assert lr.shape == (1, 3, height, width)
        elsewhere = session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})
        assert_same_triplet(expected, [tensor.numpy() for tensor in again], share=0.01, levels=0.01)
        assert_same_triplet(expected, elsewhere, share=0.05, levels=0.1)


def test_edsr_programs(exported: Path) -> None:
    edsr = load_edsr(exported / "sr.safetensors")
    program = torch.export.load(exported / "sr.pt2").module()
    session = onnxruntime.InferenceSession(exported / "sr.onnx", providers=["CPUExecutionProvider"])
    for batch, height, width in ((1, 16, 20), (3, 31, 9)):
        lr = torch.rand(batch, 3, height, width)
        with torch.no_grad():
            expected = edsr(lr).numpy()
            np.testing.assert_allclose(program(lr).numpy(), expected, atol=1e-5)
        np.testing.assert_allclose(session.run(["sr"], {"lr": lr.numpy()})[0], expected, atol=1e-4)


def test_banks(exported: Path, degradation: Degradation) -> None:
    kernels, noise = np.load(exported / "kernels.npz"), np.load(exported / "noise.npz")
    side = degradation.config.kernel.size
    assert kernels["kernels"].shape == (70, side, side)
    np.testing.assert_allclose(kernels["kernels"].sum((1, 2)), 1, atol=1e-6)
    assert len(np.unique(kernels["kernels"].reshape(70, -1), axis=0)) > 1
    assert (int(kernels["scale"]), tuple(kernels["origin"])) == (4, degradation.kernel_origin)
    assert noise["noise"].shape == (5, 24, 24, 3)
    assert 0.0001 < noise["noise"].std() < 0.2
    assert noise["brightness"].shape == (5,)

    cells = loadmat(exported / "kernels.mat")["kernels"]  # as USRNet reads its own: kernels[0, index]
    assert cells.shape == (1, 70)
    np.testing.assert_array_equal(cells[0, 69].astype(np.float32), kernels["kernels"][69])
    np.testing.assert_array_equal(loadmat(exported / "noise.mat")["noise"], noise["noise"])
