"""Exports a model's files to formats that other programs run or read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from models.checkpoint import load_degradation, load_edsr
from models.degradation import Degradation
from patina.export.compiled import export_degrader, export_edsr, latent_names, save_onnx, save_program
from patina.export.model_formats import ModelFormat
from patina.export.otf import write_otf_options
from patina.export.samples import SampleCounts, sample_kernels, sample_noise, save_mat, save_npz


def export_model(
    degrader: Path, sr: Path, folder: Path, formats: Sequence[ModelFormat], counts: SampleCounts, seed: int
) -> Iterator[Path]:
    """Writes each format into `folder`. Yields each file once it is written."""
    folder.mkdir(parents=True, exist_ok=True)
    if {ModelFormat.onnx, ModelFormat.torch} & set(formats):
        yield from _write_programs(degrader, sr, folder, formats)
    if {ModelFormat.npz, ModelFormat.mat} & set(formats):
        yield from _write_samples(load_degradation(degrader), folder, formats, counts, seed)
    if ModelFormat.otf_yaml in formats:
        yield from write_otf_options(load_degradation(degrader), folder, seed)


def _write_programs(degrader: Path, sr: Path, folder: Path, formats: Sequence[ModelFormat]) -> Iterator[Path]:
    degradation = load_degradation(degrader)
    programs = {
        "degrader": (export_degrader(degradation), ["hr", *latent_names(degradation)], ["lr", "kernel", "noise"]),
        "sr": (export_edsr(load_edsr(sr)), ["lr"], ["sr"]),
    }
    for name, (program, inputs, outputs) in programs.items():
        if ModelFormat.torch in formats:
            save_program(program, folder / f"{name}.pt2")
            yield folder / f"{name}.pt2"
        if ModelFormat.onnx in formats:
            save_onnx(program, folder / f"{name}.onnx", inputs, outputs)
            yield folder / f"{name}.onnx"


def _write_samples(
    degradation: Degradation, folder: Path, formats: Sequence[ModelFormat], counts: SampleCounts, seed: int
) -> Iterator[Path]:
    samples = {
        "kernels": sample_kernels(degradation, counts.kernels, seed),
        "noise": sample_noise(degradation, counts.noises, counts.patch, seed),
    }
    for name, arrays in samples.items():
        if ModelFormat.npz in formats:
            save_npz(arrays, folder / f"{name}.npz")
            yield folder / f"{name}.npz"
        if ModelFormat.mat in formats:
            save_mat(arrays, folder / f"{name}.mat")
            yield folder / f"{name}.mat"
