"""The client, which does not import `store`, has its own copy of the files' names."""

from patina.schemas import GALLERY_FILES
from store.model_files import EXAMPLES, GALLERY, PATCHES


def test_client_knows_the_files_of_a_preview() -> None:
    assert GALLERY_FILES == (GALLERY, PATCHES, EXAMPLES)
