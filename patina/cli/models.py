"""`patina models`, `report`, `sheet` and `export-model`."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Column, Table

from patina.cli.app import Api, AsJson, check_picture_name, cli, format_example
from patina.cli.session import open_session
from patina.client import Model
from patina.errors import PatinaError
from patina.export.model_formats import ModelFormat
from patina.kinds import describe_kinds
from patina.schemas import Report

MAX_LISTED = 20


@cli.command(epilog=format_example("patina models", "patina models 01jd3vqz0r6f8h2k4m6p8s0v2x --out my-camera"))
def models(
    model_id: Annotated[str | None, typer.Argument(metavar="ID", help="Show this model and its files.")] = None,
    dataset: Annotated[str | None, typer.Option("--dataset", help="List only the models of this dataset.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Download the model's files into this folder.")
    ] = None,
    as_json: AsJson = False,
    api: Api = None,
) -> None:
    """List the newest models; or show or download one. For its quality, see: patina report"""
    if model_id is None and out:
        raise typer.BadParameter("--out needs the ID of a model")
    with open_session(api, as_json) as session:
        if model_id is None:
            newest = session.patina.models.list(MAX_LISTED, dataset=dataset)
            session.out.print_table(_format_table(newest))
            session.out.print_result([model.model_dump(mode="json", exclude={"history"}) for model in newest])
            return
        model = session.patina.models.get(model_id)
        session.out.print_table(_format_table([model]))
        session.out.print(f"Scale {model.scale}, {model.steps:,} steps in {model.seconds / 60:.1f} minutes.")
        files = [model.download(out, name) for name in model.files] if out else []
        session.out.print(f"{', '.join(model.files)} {f'are in {out}' if out else 'can be downloaded with --out.'}")
        session.out.print_result({**model.model_dump(mode="json"), "files": files or model.files})


@cli.command(epilog=format_example("patina report", "patina report --json | jq .score"))
def report(
    model: Annotated[str | None, typer.Argument(metavar="MODEL", help="Default: the newest model.")] = None,
    as_json: AsJson = False,
    api: Api = None,
) -> None:
    """Report a model's quality: its kernels and noise, how realistic its photos are, and warnings."""
    with open_session(api, as_json) as session:
        chosen = session.get_model(model)
        if as_json:
            session.out.print_result(json.loads(chosen.report_json()))
        else:
            report = chosen.report()
            session.out.print_table(_format_metrics(report))
            session.out.print_alarms(report.alarms)


@cli.command(epilog=format_example("patina sheet --out my-camera.png"))
def sheet(
    model: Annotated[str | None, typer.Argument(metavar="MODEL", help="Default: the newest model.")] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", callback=check_picture_name, help="The picture: a .png or .jpg.")
    ] = Path("contact-sheet.png"),
    as_json: AsJson = False,
    api: Api = None,
) -> None:
    """Draw a contact sheet of a model: real and generated photos, kernels, noise and warnings."""
    with open_session(api, as_json) as session:
        chosen = session.get_model(model)
        session.save_sheet(chosen, out)
        session.out.print_result({"model": chosen.id, "sheet": out})


def _format_table(models: list[Model]) -> Table:
    ids = (Column(name, no_wrap=True, min_width=26) for name in ("ID", "Dataset"))
    table = Table(*ids, "Preset", "Created", box=None, pad_edge=False)
    for model in models:
        table.add_row(model.id, model.dataset, model.preset, model.created.astimezone().strftime("%Y-%m-%d"))
    return table


def _format_metrics(report: Report) -> Table:
    kernels, noise, colors = report.kernels, report.noise, report.colors
    table = Table("Metric", "Value", "Meaning", box=None, pad_edge=False)
    table.add_row("score", f"{report.score:.2f}", "0 is perfect; lower is better, for models of the same photos")
    if test := report.two_sample:
        accuracy = f"{test.accuracy:.0%} ± {test.uncertainty:.0%}"
        table.add_row("real vs. generated", accuracy, "accuracy of a small classifier; 50% is perfect")
    if test := report.sharpened_two_sample:
        accuracy = f"{test.accuracy:.0%} ± {test.uncertainty:.0%}"
        table.add_row("", accuracy, "the same with sharpened kernels, which sharpen texture more than a camera does")
    if overshoot := report.overshoot:
        both = f"{overshoot.real:.1%}, {overshoot.generated:.1%}"
        table.add_row("overshoot", both, "of real and generated photos beside edges: how much they are sharpened")
    for name, sigma in (("blur, major", kernels.major), ("blur, minor", kernels.minor)):
        spread = f"{sigma.mean:.2f} ({sigma.p5:.2f} to {sigma.p95:.2f})"
        table.add_row(name, spread, "sigma in high-resolution pixels: mean (5th to 95th percentile)")
    table.add_row(
        "off center", f"{kernels.off_center.mean:.3f}", "distance of kernels from the sampled point, in pixels"
    )
    table.add_row("diversity", f"{kernels.diversity:.2f}", "of kernels; 0: all identical, 1: nothing in common")
    std = noise.std
    table.add_row(
        "noise",
        f"{std.mean:.1f} ({std.p5:.1f} to {std.p95:.1f})",
        "standard deviation in 8-bit levels: mean (5th to 95th percentile)",
    )
    if curve := noise.by_brightness:
        ends = f"{curve[0].std:.1f} to {curve[-1].std:.1f}"
        between = f"{curve[0].brightness:.0f} to {curve[-1].brightness:.0f}"
        table.add_row("", ends, f"standard deviation at brightness {between}")
    correlation = f"{noise.corr_right:.2f}, {noise.corr_down:.2f}, {noise.corr_red_green:.2f}"
    table.add_row("", correlation, "correlation with the right and lower neighbor, and of red and green")
    if kinds := report.kinds:
        for name, comparison in (("kinds, by blur", kinds.by_blur), ("kinds, by noise", kinds.by_noise)):
            if comparison:
                table.add_row(name, describe_kinds(comparison.real), "of real photos, as estimated: blur, noise")
                table.add_row("", describe_kinds(comparison.generated), "of generated photos")
    shift = f"{colors.red:+.1f}, {colors.green:+.1f}, {colors.blue:+.1f}"
    table.add_row("color shift", shift, "of red, green and blue, in levels; 0 is perfect")
    return table


@cli.command("export-model", epilog=format_example("patina export-model --out my-camera --as onnx --as npz"))
def export_model(
    model: Annotated[str | None, typer.Argument(metavar="MODEL", help="Default: the newest model.")] = None,
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the files.")] = Path("model"),
    forms: Annotated[
        list[ModelFormat],
        typer.Option(
            "--as",
            help="onnx and torch (torch.export): degrader and super-resolution programs; npz and mat (MATLAB): "
            "samples of kernels and noise; otf-yaml: options for the on-the-fly pipelines of BasicSR, Real-ESRGAN, "
            "traiNNer-redux, neosr and wtp_dataset_destroyer. Repeat for several formats.",
        ),
    ] = list(ModelFormat),  # noqa: B006 - typer copies it
    kernels: Annotated[int, typer.Option(min=1, help="Number of kernels.")] = 1000,
    noises: Annotated[int, typer.Option(min=1, help="Number of noise patches.")] = 256,
    patch: Annotated[int, typer.Option(min=8, max=1024, help="Side of a noise patch in pixels.")] = 64,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same kernels and noise.")] = 0,
    as_json: AsJson = False,
    api: Api = None,
) -> None:
    """Export a model for other programs, next to its safetensors files. Needs torch."""
    if find_spec("torch") is None:
        raise PatinaError("This needs torch: pip install 'patina[worker]'")
    from patina.export.model import export_model as export  # noqa: PLC0415
    from patina.export.samples import SampleCounts  # noqa: PLC0415 - importing torch takes seconds

    with open_session(api, as_json) as session:
        chosen = session.get_model(model)
        files = [chosen.download(out, name) for name in ("degrader.safetensors", "sr.safetensors")]
        for file in export(files[0], files[1], out, forms, SampleCounts(kernels, noises, patch), seed):
            session.out.print(f"{file}")
            files.append(file)
        session.out.print_result({"model": chosen.id, "files": files})
