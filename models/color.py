"""BT.601 color conversion, as JPEG uses it. This file needs no torch."""

from __future__ import annotations

LUMA_WEIGHTS = (0.299, 0.587, 0.114)  # of red, green and blue
# Full range (JFIF), without the offset of 128 in Cb and Cr.
RGB_TO_YCBCR = (LUMA_WEIGHTS, (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
YCBCR_TO_RGB = ((1.0, 0.0, 1.402), (1.0, -0.344136, -0.714136), (1.0, 1.772, 0.0))
