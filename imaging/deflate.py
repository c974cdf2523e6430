"""The level at which ISA-L deflates pixels, where the same pixels must be the same bytes."""

# Levels 1 and 2 are a little faster, but their output depends on where the compressor's memory is: once in some
# thousand times it differs, in bytes and not in content. Level 3 did not, in 60,000
# (docs/experiments/023-image-codecs.md).
DEFLATE_LEVEL = 3
