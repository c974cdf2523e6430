"""The API process: `python -m app`."""

import gc

gc.disable()  # imported modules stay; collecting garbage among them took an eighth of the start
from app.server import serve  # noqa: E402

gc.freeze()
gc.enable()

if __name__ == "__main__":
    serve()
