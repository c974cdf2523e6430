"""A model's report over HTTP."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any

from pydantic import BaseModel

from app.models.report import ReportRead
from store.model_files import REPORT
from tests.support.api import Api
from tests.support.store_factories import create_model
from training.report.evaluator import Report

EXAMPLE: dict[str, Any] = ReportRead.model_config["json_schema_extra"]["example"]  # type: ignore[index,assignment]


def test_a_report_is_returned_as_it_was_written(api: Api) -> None:
    dataset = api.create_dataset()
    text = ReportRead.model_validate(EXAMPLE).model_dump_json()
    with api.store.database.write() as session:
        model = create_model(session, dataset, files={REPORT: api.store.blobs.put(text.encode())})
    link = api.http.get(f"/models/{model.id}").json()["links"]["report"]
    assert api.http.get(link).json() == EXAMPLE
    path = api.store.blobs.path(model.files[REPORT])
    path.write_text(text.replace("0.31", "0.13"))
    response = api.http.get(link)
    assert (response.status_code, response.json()["code"]) == (500, "blob_corrupt")
    path.unlink()
    assert api.http.get(link).json()["code"] == "blob_missing"


def test_a_model_without_a_report_answers_404(api: Api) -> None:
    model = api.create_model(api.create_dataset())
    assert "report" not in api.http.get(f"/models/{model}").json()["links"]
    response = api.http.get(f"/models/{model}/report")
    assert (response.status_code, response.json()["code"]) == (404, "no_report")
    assert api.http.get("/models/nowhere/report").json()["code"] == "model_not_found"


ADDED_BY_WORKER = {"photo_checks"}


def test_the_schema_has_all_fields_of_a_report() -> None:
    def assert_same_fields(schema: type[BaseModel], report: type[Any]) -> None:
        hints = typing.get_type_hints(report)
        fields = {name: field for name, field in schema.model_fields.items() if name not in ADDED_BY_WORKER}
        assert fields.keys() == hints.keys()
        for name, field in fields.items():
            parts = [hints[name], *typing.get_args(hints[name])]
            inner = [part for part in parts if isinstance(part, type) and dataclasses.is_dataclass(part)]
            if inner:
                kinds = [field.annotation, *typing.get_args(field.annotation)]
                assert_same_fields(
                    next(kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), inner[0]
                )

    assert_same_fields(ReportRead, Report)
