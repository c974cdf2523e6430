"""From a model's files to the forms that others run or read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from models.checkpoint import load_degradation, load_edsr
from models.degradation import Degradation
from patina.export.compiled import degrader_program, edsr_program, latent_names, save_onnx, save_program
from patina.export.model_formats import ModelFormat
from patina.export.samples import SampleCounts, sample_kernels, sample_noise, save_mat, save_npz


def export_model(
    degrader: Path, sr: Path, folder: Path, forms: Sequence[ModelFormat], size: SampleCounts, seed: int
) -> Iterator[Path]:
    """Writes each form into `folder`; gives each file when it is there."""
    folder.mkdir(parents=True, exist_ok=True)
    if {ModelFormat.onnx, ModelFormat.torch} & set(forms):
        yield from _programs(degrader, sr, folder, forms)
    if {ModelFormat.npz, ModelFormat.mat} & set(forms):
        yield from _banks(load_degradation(degrader), folder, forms, size, seed)


def _programs(degrader: Path, sr: Path, folder: Path, forms: Sequence[ModelFormat]) -> Iterator[Path]:
    degradation = load_degradation(degrader)
    named = {
        "degrader": (degrader_program(degradation), ["hr", *latent_names(degradation)], ["lr", "kernel", "noise"]),
        "sr": (edsr_program(load_edsr(sr)), ["lr"], ["sr"]),
    }
    for name, (program, inputs, outputs) in named.items():
        if ModelFormat.torch in forms:
            save_program(program, folder / f"{name}.pt2")
            yield folder / f"{name}.pt2"
        if ModelFormat.onnx in forms:
            save_onnx(program, folder / f"{name}.onnx", inputs, outputs)
            yield folder / f"{name}.onnx"


def _banks(
    degradation: Degradation, folder: Path, forms: Sequence[ModelFormat], size: SampleCounts, seed: int
) -> Iterator[Path]:
    banks = {
        "kernels": sample_kernels(degradation, size.kernels, seed),
        "noise": sample_noise(degradation, size.noises, size.patch, seed),
    }
    for name, bank in banks.items():
        if ModelFormat.npz in forms:
            save_npz(bank, folder / f"{name}.npz")
            yield folder / f"{name}.npz"
        if ModelFormat.mat in forms:
            save_mat(bank, folder / f"{name}.mat")
            yield folder / f"{name}.mat"
