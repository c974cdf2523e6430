"""Uploads keep what a file says about its compression."""

from __future__ import annotations

import io

from PIL import Image

from store.repositories.datasets import DatasetRepository
from tests.support.api import Api
from tests.support.images import make_picture, make_png

OWN = [[3 + n for n in range(64)], [9 + 2 * n for n in range(64)]]


def test_uploads_keep_what_the_file_says(api: Api) -> None:
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6
    Image.fromarray(make_picture(48, 64)).save(buffer, "JPEG", qtables=OWN, subsampling=1, exif=exif)
    dataset = api.create_dataset(scale=2)
    api.upload(dataset, "lr", a_jpg=buffer.getvalue(), b_png=make_png(64, 64, 0))
    with api.store.database.read() as session:
        jpeg, png = DatasetRepository(session).list_images(dataset)
    assert png.compression is None
    assert jpeg.compression is not None
    assert jpeg.compression["tables"] == [OWN[0], OWN[1], OWN[1]]
    assert (jpeg.compression["sampling"], jpeg.compression["orientation"]) == ([2, 1], 6)
