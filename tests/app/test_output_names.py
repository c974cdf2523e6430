"""Output names of results, and crops of images."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from app.http.schemas import RejectedFile
from app.jobs.output_names import assign_output_names
from store.crops import count_crops, split_into_crops
from store.repositories.samples import NewItem

MANY = 100_000  # a linear search for each would take an hour
names = st.text(st.sampled_from("aA-2./_é\u0301ßs:\\ "), max_size=7)
HINDI, CAFE_NFD = "\u0939\u093f\u0928\u094d\u0926\u0940", "cafe\u0301"


def output_names_of(names: list[str]) -> list[str]:
    rejected = [RejectedFile(name=name, code="corrupt_image", message="") for name in names]
    return [output_name for output_name, _ in assign_output_names(rejected)]


def test_100_000_files_of_one_name() -> None:
    output_names = output_names_of(["a.png"] * MANY)
    assert output_names[:3] == ["a", "a-2", "a-3"]
    assert len(set(output_names)) == MANY


def test_folders_and_names_are_kept() -> None:
    kept = ["a/1", "b/1", "frame 001", "frame_001", "frame.001", f"{HINDI}/{HINDI}", CAFE_NFD, "文/é, (1) & [2]"]
    assert output_names_of([f"{name}.png" for name in kept]) == kept


def test_names_change_where_a_file_system_needs_it() -> None:
    """Windows' reserved names and characters, hidden files, and what case or normalization makes equal."""
    changed = {
        "con.png": "_con",
        "aux.b /c.png": "_aux.b_/c",
        "a?b:c.png": "a_b_c",
        "folder. /x.png": "folder._/x",
        ".hidden/.x.png": "_hidden/_x",
        "a.png/x.jpg": "a.png_/x",
        "Straße.png": "Straße",
        "STRASSE.png": "STRASSE-2",
        f"{CAFE_NFD}.png": CAFE_NFD,
        "caf\u00e9.png": "caf\u00e9-2",
    }
    assert output_names_of(list(changed)) == list(changed.values())


def test_the_only_archive_is_no_folder() -> None:
    names = [
        output for output, _ in assign_output_names([reject("p.zip/a/1.png"), reject("p.zip/1.png")], archive="p.zip")
    ]
    assert names == ["a/1", "1"]


def reject(name: str) -> RejectedFile:
    return RejectedFile(name=name, code="corrupt_image", message="")


def test_output_names_are_limited_in_bytes() -> None:
    (output_name,) = output_names_of([200 * "\N{CJK UNIFIED IDEOGRAPH-6587}" + ".png"])
    assert output_name == 60 * "\N{CJK UNIFIED IDEOGRAPH-6587}"
    (marked,) = output_names_of([175 * "a" + 9 * "e\u0301" + ".png"])
    assert marked == 175 * "a" + "e\u0301"
    (deep,) = output_names_of([1000 * "ab/" + "1.png"])
    assert deep.endswith("/ab/1")
    assert len(deep) <= 1000


@given(st.lists(names, max_size=12))
def test_output_names_are_unique_and_stay_in_their_folder(names: list[str]) -> None:
    output_names = output_names_of(names)
    folded = {unicodedata.normalize("NFC", name.casefold()) for name in output_names}
    assert len(folded) == len(names)
    for output_name in output_names:
        parts = output_name.split("/")
        assert all(parts)
        assert not any(part.startswith(".") or set(part) & set(":\\") for part in parts)


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
