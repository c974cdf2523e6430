"""What the files of a job's results are called, and the squares that its images are cut into."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.degrade.crops import count_crops, split_into_crops
from app.http.schemas import RejectedFile
from app.jobs.output_names import assign_output_names
from store.repositories.samples import NewItem

MANY = 100_000  # tried one after the other, they would take an hour
names = st.text(st.sampled_from("aA-2./_é"), max_size=6)


def stems_of(names: list[str]) -> list[str]:
    rejected = [RejectedFile(name=name, code="corrupt_image", message="") for name in names]
    return [stem for stem, _ in assign_output_names([], rejected)]


def test_a_hundred_thousand_files_of_one_name() -> None:
    stems = stems_of(["a.png"] * MANY)
    assert stems[:3] == ["a", "a-2", "a-3"]
    assert len(set(stems)) == MANY


def test_file_systems_count_bytes() -> None:
    (stem,) = stems_of([200 * "\N{CJK UNIFIED IDEOGRAPH-6587}" + ".png"])
    assert stem == 33 * "\N{CJK UNIFIED IDEOGRAPH-6587}"


@given(st.lists(names, max_size=12))
def test_no_two_are_the_same_and_none_leaves_its_folder(names: list[str]) -> None:
    stems = stems_of(names)
    assert len({stem.lower() for stem in stems}) == len(names)
    assert not any(set(stem) & set("./\\") for stem in stems)
    assert all(stems)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(1, 50))
def test_squares_cover_the_image_and_are_as_many_as_counted(height: int, width: int, side: int, step: int) -> None:
    squares = split_into_crops([("a", NewItem("a.png", "0"))], {"0": (height, width)}, side, step)
    crops = [item.crop for _, item in squares if item.crop]
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
