"""From a model's files to the forms that others run or read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from models.checkpoint import load_degradation, load_edsr
from models.degradation import Degradation
from patina.export.compiled import degrader_program, edsr_program, latent_names, save_onnx, save_program
from patina.export.model_formats import ModelForm
from patina.export.samples import BankSize, kernel_bank, noise_bank, save_mat, save_npz


def export_model(
    degrader: Path, sr: Path, folder: Path, forms: Sequence[ModelForm], size: BankSize, seed: int
) -> Iterator[Path]:
    """Writes each form into `folder`; gives each file when it is there."""
    folder.mkdir(parents=True, exist_ok=True)
    if {ModelForm.onnx, ModelForm.torch} & set(forms):
        yield from _programs(degrader, sr, folder, forms)
    if {ModelForm.npz, ModelForm.mat} & set(forms):
        yield from _banks(load_degradation(degrader), folder, forms, size, seed)


def _programs(degrader: Path, sr: Path, folder: Path, forms: Sequence[ModelForm]) -> Iterator[Path]:
    degradation = load_degradation(degrader)
    named = {
        "degrader": (degrader_program(degradation), ["hr", *latent_names(degradation)], ["lr", "kernel", "noise"]),
        "sr": (edsr_program(load_edsr(sr)), ["lr"], ["sr"]),
    }
    for name, (program, inputs, outputs) in named.items():
        if ModelForm.torch in forms:
            save_program(program, folder / f"{name}.pt2")
            yield folder / f"{name}.pt2"
        if ModelForm.onnx in forms:
            save_onnx(program, folder / f"{name}.onnx", inputs, outputs)
            yield folder / f"{name}.onnx"


def _banks(
    degradation: Degradation, folder: Path, forms: Sequence[ModelForm], size: BankSize, seed: int
) -> Iterator[Path]:
    banks = {
        "kernels": kernel_bank(degradation, size.kernels, seed),
        "noise": noise_bank(degradation, size.noises, size.patch, seed),
    }
    for name, bank in banks.items():
        if ModelForm.npz in forms:
            save_npz(bank, folder / f"{name}.npz")
            yield folder / f"{name}.npz"
        if ModelForm.mat in forms:
            save_mat(bank, folder / f"{name}.mat")
            yield folder / f"{name}.mat"
