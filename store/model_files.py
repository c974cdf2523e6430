"""Names of a model's files, as its record and `GET /models/{id}/files/{name}` have them."""

DEGRADER = "degrader.safetensors"
SR = "sr.safetensors"
REPORT = "report.json"  # the quality metrics; models of early versions have none
GALLERY, PATCHES, EXAMPLES = "gallery.json", "patches.png", "examples.png"  # a preview has these three alone
