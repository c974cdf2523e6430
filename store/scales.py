"""The scales of a dataset. API and command line take their choices from here, because they do not import `models`."""

from typing import Literal

Scale = Literal[1, 2, 3, 4, 8]
