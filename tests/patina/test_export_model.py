"""An exported model returns the same numbers in other runtimes, and other programs read its samples."""

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
from models.compression import Compression, standard_compression
from models.degradation import Degradation
from models.losses import quantize_ste
from patina.export.compiled import example_inputs
from patina.export.model import export_model
from patina.export.model_formats import ModelFormat
from patina.export.samples import SampleCounts
from tests.support.local_service import LocalService, TrainedModel

NEWTON_STEPS = 3
SIZES = [(96, 128), (128, 64)]  # (h, w) of the low-resolution image: multiples of 16, as JPEG needs


@pytest.fixture(scope="module")
def exported(service: LocalService, trained: TrainedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command line exports samples. Programs are exported here, from a degradation that compresses with JPEG.

    Their kernels are centered in fewer Newton steps, because large graphs take long.
    """
    folder = tmp_path_factory.mktemp("exported") / "model"
    options = ("--as", "npz", "--as", "mat", "--kernels", "70", "--noises", "5", "--patch", "24", "--seed", "3")
    done = service.command("export-model", trained.model, "--out", str(folder), *options, "--json")
    assert done.returncode == 0, done.stderr
    model = [folder / name for name in ("degrader.safetensors", "sr.safetensors")]
    samples = [folder / name for name in ("kernels.npz", "kernels.mat", "noise.npz", "noise.mat")]
    assert json.loads(done.stdout) == {"model": trained.model, "files": [str(file) for file in model + samples]}
    learned = load_degradation(model[0])
    own = Compression(tuple(range(3, 67)), tuple(range(5, 69)), tuple(range(5, 69)), (2, 1))
    compressions = (standard_compression(60), Compression(), own)
    compressing = Degradation(replace(learned.config, compressions=compressions))
    compressing.load_state_dict(learned.state_dict())
    save_degradation(compressing, folder / "compressing.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("models.networks.kernel.NEWTON_STEPS", NEWTON_STEPS)
        formats = [ModelFormat.onnx, ModelFormat.torch]
        programs = export_model(folder / "compressing.safetensors", model[1], folder, formats, SampleCounts(), seed=0)
        assert [file.name for file in programs] == ["degrader.pt2", "degrader.onnx", "sr.pt2", "sr.onnx"]
    return folder


@pytest.fixture
def degradation(exported: Path, monkeypatch: pytest.MonkeyPatch) -> Degradation:
    monkeypatch.setattr("models.networks.kernel.NEWTON_STEPS", NEWTON_STEPS)
    return load_degradation(exported / "compressing.safetensors")


def assert_same_triplet(
    ours: tuple[torch.Tensor, ...], theirs: Sequence[NDArray[np.float32]], share: float, levels: float
) -> None:
    """Allows a share of the pixels to differ, and a mean difference of `levels`."""
    lr, kernel, noise = (tensor.numpy() for tensor in ours)
    np.testing.assert_allclose(theirs[1], kernel, atol=1e-5)
    # Another order of summation may round a pixel the other way, or a JPEG coefficient and so a whole block.
    difference = np.abs(255 * (theirs[0] - lr))
    assert difference.mean() < levels
    assert np.mean(difference > 0.5) < share
    assert np.mean(np.abs(255 * (theirs[2] - noise)) > 0.01) < share


def test_degrader_programs_match_the_degradation(exported: Path, degradation: Degradation) -> None:
    program = torch.export.load(exported / "degrader.pt2").module()
    session = onnxruntime.InferenceSession(exported / "degrader.onnx", providers=["CPUExecutionProvider"])
    assert [node.name for node in session.get_inputs()] == ["hr", "z_kernel", "z_noise", "white", "compression"]
    assert [node.name for node in session.get_outputs()] == ["lr", "kernel", "noise"]
    for seed, (height, width) in enumerate(SIZES):
        inputs = example_inputs(degradation, height, width, seed)
        latents = degradation.draw_latents(1, (height, width), torch.Generator().manual_seed(seed))
        with torch.no_grad():
            lr, kernel, noise = degradation(inputs["hr"], latents)
            from_torch = program(*inputs.values())
        expected = quantize_ste(lr), kernel, noise
        assert lr.shape == (1, 3, height, width)
        from_onnx = session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})
        assert_same_triplet(expected, [tensor.numpy() for tensor in from_torch], share=0.01, levels=0.01)
        # A finer table than the standard ones turns more roundings over, each by less.
        assert_same_triplet(expected, from_onnx, share=0.1, levels=0.2)


def test_edsr_programs_match_the_edsr(exported: Path) -> None:
    edsr = load_edsr(exported / "sr.safetensors")
    program = torch.export.load(exported / "sr.pt2").module()
    session = onnxruntime.InferenceSession(exported / "sr.onnx", providers=["CPUExecutionProvider"])
    for batch, height, width in ((1, 16, 20), (3, 31, 9)):
        lr = torch.rand(batch, 3, height, width)
        with torch.no_grad():
            expected = edsr(lr).numpy()
            np.testing.assert_allclose(program(lr).numpy(), expected, atol=1e-5)
        np.testing.assert_allclose(session.run(["sr"], {"lr": lr.numpy()})[0], expected, atol=1e-4)


def test_samples_have_the_documented_shapes(exported: Path, degradation: Degradation) -> None:
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
    turned = cells[0, 69].astype(np.float32)[::-1, ::-1]
    rows, cols = (slice(len(turned) // 2 + first, len(turned) // 2 + first + side) for first in kernels["origin"])
    np.testing.assert_array_equal(turned[rows, cols], kernels["kernels"][69])
    np.testing.assert_array_equal(loadmat(exported / "noise.mat")["noise"], noise["noise"])
