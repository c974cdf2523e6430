"""Commands on models."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Column, Table

from patina.cli.app import Api, AsJson, cli, example, picture
from patina.cli.session import session
from patina.client.flow import Sync
from patina.client.models import Model
from patina.client.schemas import Report
from patina.errors import PatinaError
from patina.export.model_formats import ModelForm

LISTED = 20


@cli.command(epilog=example("patina models", "patina models 01jd3vqz0r6f8h2k4m6p8s0v2x --out my-camera"))
def models(
    model_id: Annotated[str | None, typer.Argument(metavar="ID", help="One model, with its files' names.")] = None,
    dataset: Annotated[str | None, typer.Option("--dataset", help="Only those of this dataset.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Fetch its files into this folder.")] = None,
    as_json: AsJson = False,
    api: Api = None,
) -> None:
    """List the newest models; or show or fetch one. How good it is, tells: patina report"""
    if model_id is None and out:
        raise typer.BadParameter("--out needs the ID of a model")
    with session(api, as_json) as here:
        if model_id is None:
            found = here.patina.models.list(LISTED, dataset=dataset)
            here.out.table(_table(found))
            here.out.result([model.model_dump(mode="json", exclude={"history"}) for model in found])
            return
        model = here.patina.models.get(model_id)
        here.out.table(_table([model]))
        here.out.say(f"Scale {model.scale}, {model.steps:,} steps in {model.seconds / 60:.1f} minutes.")
        files = [model.download(out, name) for name in model.files] if out else []
        here.out.say(f"{', '.join(model.files)} {f'are in {out}' if out else 'can be fetched with --out.'}")
        here.out.result({**model.model_dump(mode="json"), "files": files or model.files})


@cli.command(epilog=example("patina report", "patina report --json | jq .score"))
def report(
    model: Annotated[str | None, typer.Argument(metavar="MODEL", help="Unset: the one trained last.")] = None,
    as_json: AsJson = False,
    api: Api = None,
) -> None:
    """Tell how good a trained model is: what it makes, how like the real photos that looks, and what is wrong."""
    with session(api, as_json) as here:
        chosen = here.model(model)
        if as_json:
            here.out.result(json.loads(chosen.report_json()))
        else:
            found = chosen.report()
            here.out.table(_figures(found))
            here.out.alarms(found.alarms)


@cli.command(epilog=example("patina sheet --out my-camera.png"))
def sheet(
    model: Annotated[str | None, typer.Argument(metavar="MODEL", help="Unset: the one trained last.")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", callback=picture, help="The picture: a .png or .jpg.")] = Path(
        "contact-sheet.png"
    ),
    as_json: AsJson = False,
    api: Api = None,
) -> None:
    """Draw what a model learned on one page: real photos beside made ones, kernels, noise, and the report's words."""
    with session(api, as_json) as here:
        chosen = here.model(model)
        here.draw(chosen, out)
        here.out.result({"model": chosen.id, "sheet": out})


def _table(found: list[Model[Sync]]) -> Table:
    ids = (Column(name, no_wrap=True, min_width=26) for name in ("ID", "Dataset"))
    table = Table(*ids, "Preset", "Made", box=None, pad_edge=False)
    for model in found:
        table.add_row(model.id, model.dataset, model.preset, model.created.astimezone().strftime("%Y-%m-%d"))
    return table


def _figures(found: Report) -> Table:
    kernels, noise, colours = found.kernels, found.noise, found.colours
    table = Table("Figure", "Value", "Meaning", box=None, pad_edge=False)
    table.add_row("score", f"{found.score:.2f}", "0 is perfect; lower is better, for models of the same photos")
    if test := found.two_sample:
        told = f"{test.accuracy:.0%} ± {test.uncertainty:.0%}"
        table.add_row("told apart", told, "made photos from real ones, by a small classifier; 50% is perfect")
    for name, width in (("blur, major", kernels.major), ("blur, minor", kernels.minor)):
        spread = f"{width.mean:.2f} ({width.p5:.2f} to {width.p95:.2f})"
        table.add_row(name, spread, "width of kernels in high-resolution pixels, and of nine in ten")
    table.add_row(
        "off centre", f"{kernels.off_centre.mean:.3f}", "distance of kernels from the sampled point, in pixels"
    )
    table.add_row("diversity", f"{kernels.diversity:.2f}", "of kernels; 0: all the same, 1: nothing in common")
    level = noise.level
    table.add_row(
        "noise", f"{level.mean:.1f} ({level.p5:.1f} to {level.p95:.1f})", "in 8-bit levels, and of nine in ten"
    )
    if curve := noise.by_brightness:
        ends = f"{curve[0].level:.1f} to {curve[-1].level:.1f}"
        between = f"{curve[0].brightness:.0f} to {curve[-1].brightness:.0f}"
        table.add_row("", ends, f"from brightness {between}")
    correlation = f"{noise.right:.2f}, {noise.below:.2f}, {noise.red_green:.2f}"
    table.add_row("", correlation, "correlation with the right and lower neighbour, and of red and green")
    shift = f"{colours.red:+.1f}, {colours.green:+.1f}, {colours.blue:+.1f}"
    table.add_row("colour shift", shift, "of red, green and blue, in levels; 0 is perfect")
    return table


@cli.command("export-model", epilog=example("patina export-model --out my-camera --as onnx --as npz"))
def export_model(
    model: Annotated[str | None, typer.Argument(metavar="MODEL", help="Unset: the one trained last.")] = None,
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the files.")] = Path("model"),
    forms: Annotated[
        list[ModelForm],
        typer.Option(
            "--as",
            help="onnx and torch (torch.export): degrader and super-resolution as programs; npz and mat (MATLAB): many "
            "kernels and patches of noise. May be given several times.",
        ),
    ] = list(ModelForm),  # noqa: B006 - typer copies it
    kernels: Annotated[int, typer.Option(min=1, help="How many kernels.")] = 1000,
    noises: Annotated[int, typer.Option(min=1, help="How many patches of noise.")] = 256,
    patch: Annotated[int, typer.Option(min=8, max=1024, help="Side of a patch of noise, in pixels.")] = 64,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same kernels and noise.")] = 0,
    as_json: AsJson = False,
    api: Api = None,
) -> None:
    """Write a model in forms that others run or read, beside its own (safetensors). Needs torch."""
    if find_spec("torch") is None:
        raise PatinaError("This needs torch: pip install 'patina[worker]'")
    from patina.export.model import export_model as export  # noqa: PLC0415
    from patina.export.samples import BankSize  # noqa: PLC0415 - torch takes seconds that other commands do not need

    with session(api, as_json) as here:
        chosen = here.model(model)
        files = [chosen.download(out, name) for name in ("degrader.safetensors", "sr.safetensors")]
        for file in export(files[0], files[1], out, forms, BankSize(kernels, noises, patch), seed):
            here.out.say(f"{file}")
            files.append(file)
        here.out.result({"model": chosen.id, "files": files})
