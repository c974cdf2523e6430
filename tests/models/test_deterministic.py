from __future__ import annotations

import torch

from models.inference.deterministic import deterministic_convs


def test_cudnn_is_off_until_the_last_thread_leaves() -> None:
    assert torch.backends.cudnn.enabled
    first, second = deterministic_convs(), deterministic_convs()
    first.__enter__()
    second.__enter__()
    assert not torch.backends.cudnn.enabled
    first.__exit__(None, None, None)
    assert not torch.backends.cudnn.enabled
    second.__exit__(None, None, None)
    assert torch.backends.cudnn.enabled
