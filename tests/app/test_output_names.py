"""Output names of results, and crops of images."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.degrade.crops import count_crops, split_into_crops
from app.http.schemas import RejectedFile
from app.jobs.output_names import assign_output_names
from store.repositories.samples import NewItem

MANY = 100_000  # a linear search for each would take an hour
names = st.text(st.sampled_from("aA-2./_é"), max_size=6)


def output_names_of(names: list[str]) -> list[str]:
    rejected = [RejectedFile(name=name, code="corrupt_image", message="") for name in names]
    return [output_name for output_name, _ in assign_output_names([], rejected)]


def test_100_000_files_of_one_name() -> None:
    output_names = output_names_of(["a.png"] * MANY)
    assert output_names[:3] == ["a", "a-2", "a-3"]
    assert len(set(output_names)) == MANY


def test_output_names_are_limited_in_bytes() -> None:
    (output_name,) = output_names_of([200 * "\N{CJK UNIFIED IDEOGRAPH-6587}" + ".png"])
    assert output_name == 33 * "\N{CJK UNIFIED IDEOGRAPH-6587}"


@given(st.lists(names, max_size=12))
def test_output_names_are_unique_and_stay_in_their_folder(names: list[str]) -> None:
    output_names = output_names_of(names)
    assert len({output_name.lower() for output_name in output_names}) == len(names)
    assert not any(set(output_name) & set("./\\") for output_name in output_names)
    assert all(output_names)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(1, 50))
def test_crops_cover_the_image_and_match_their_count(height: int, width: int, side: int, step: int) -> None:
    items = split_into_crops([("a", NewItem("a.png", "0"))], {"0": (height, width)}, side, step)
    crops = [item.crop for _, item in items if item.crop]
    assert len(crops) == count_crops([(height, width)], side, step)
    if not crops:
        assert min(height, width) < side
        return
    assert len(set(crops)) == len(crops)
    assert all(top + side <= height and left + side <= width for top, left, _, _ in crops)
    corners = {(top, left) for top, left, _, _ in crops}
    assert {(0, 0), (height - side, width - side)} <= corners
    if step <= side:
        covered = {(top + i, left + j) for top, left in corners for i in range(side) for j in range(side)}
        assert len(covered) == height * width
