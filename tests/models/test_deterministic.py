from __future__ import annotations

import torch

from models.inference.deterministic import plain_sums


def test_cudnn_is_off_until_the_last_thread_has_left() -> None:
    assert torch.backends.cudnn.enabled
    first, second = plain_sums(), plain_sums()
    first.__enter__()
    second.__enter__()
    assert not torch.backends.cudnn.enabled
    first.__exit__(None, None, None)
    assert not torch.backends.cudnn.enabled
    second.__exit__(None, None, None)
    assert torch.backends.cudnn.enabled
