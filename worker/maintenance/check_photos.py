"""Checks new photos in the background, so that lists and trainings know what is wrong with them."""

from __future__ import annotations

from config.settings import Settings
from imaging.decoder_pool import DecoderPool
from store.photo_checks import PIXELS_OUTSIDE_WORKERS, check_photos
from store.store import Store
from worker.maintenance.duty import Duty

NICENESS = 19  # of the operating system; uploads and jobs come first
SECONDS = 30.0  # of one run, so that the process can end


class CheckPhotos(Duty):
    """Checks photos that were not checked yet, in one decoder process of low priority that ends with the work."""

    def __init__(self, store: Store, settings: Settings):
        super().__init__(store, settings)
        self.decoders = DecoderPool(settings, processes=1, niceness=NICENESS)

    def run(self) -> None:
        try:
            check_photos(self.store, self.decoders, max_pixels=PIXELS_OUTSIDE_WORKERS, seconds=SECONDS)
        finally:
            self.decoders.close()
