"""Noise made of fields, drawn for one image at a time: the noise network arranged for a processor's caches."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.networks.noise import LEVEL, NoiseNetwork, ResidualBlock, level_factor

# Low-resolution pixels that gains are computed for at a time: on a CPU, few enough for the layers' outputs to stay near
# in the cache, and enough for threads not to wait for Python's lock; a GPU wants more at a time.
PIXELS_AT_ONCE = 32_768
PIXELS_AT_ONCE_ON_GPU = 2**20


class FieldNoise:
    """A noise network that has fields. Its weights are taken over here: when they change, make another.

    Its layers are 1×1 convolutions, so products of a matrix and the pixels in a row. Each matrix has its bias as one
    more column, beside pixels' values of 1, and BatchNorm, which uses what it has learned, is in it. What all pixels of
    an image share, z, is multiplied once.
    """

    def __init__(self, network: NoiseNetwork):
        assert network.filters is not None
        assert network.level is not None
        self.config, self.level, self.entering = network.config, network.level, network.entering
        blocks = [layer.body for layer in network.body if isinstance(layer, ResidualBlock)]
        with torch.no_grad():
            first = _matrix(network.body[0], network.body[1])  # (width, z + 3 + 1)
            self.of_z, self.of_blurred = first[:, : self.config.z], first[:, self.config.z :].clone()
            self.of_blurred[:, :3] /= 255
            self.blocks = [(_matrix(body[0], body[1]), _matrix(body[3])) for body in blocks]
            self.head = _matrix(network.head)  # (3·fields, width + 1)
            self.filters = _by_column(network.filters.weight)

    def draw(self, z: Tensor, blurred: Tensor, white: Tensor) -> Tensor:
        """As the network's forward, for one image: blurred (1, 3, h, w) is in 0..255, noise (1, 3, h, w) has 1 = full
        scale.

        In bands of rows that depend on the image's size alone, for another order of summation may give other last bits.
        """
        z = self.entering(z)
        height, width = blurred.shape[2:]
        noise = torch.empty_like(blurred)
        most = PIXELS_AT_ONCE_ON_GPU if blurred.is_cuda else PIXELS_AT_ONCE
        step = min(height, max(1, most // width))
        filters = self.filters * (LEVEL * level_factor(self.level, z)[0])
        of_blurred = self.of_blurred.clone()
        of_blurred[:, 3] += self.of_z @ z.flatten()
        # Each with a last row of ones, for the bias.
        seen, values, inner = (
            blurred.new_ones(rows + 1, step * width) for rows in (3, self.config.width, self.config.width)
        )
        gains = blurred.new_empty(len(self.head), step * width)
        fields = blurred.new_empty(step, self.config.fields, width)
        for top in range(0, height, step):
            rows = slice(top, min(top + step, height))
            size = (rows.stop - top) * width
            seen[:3, :size] = blurred[0, :, rows].flatten(1)
            x, y = values[:, :size], inner[:, :size]
            torch.mm(of_blurred, seen[:, :size], out=x[:-1]).relu_()
            for widening, narrowing in self.blocks:
                torch.mm(widening, x, out=y[:-1]).relu_()
                x[:-1].addmm_(narrowing, y)
            torch.mm(self.head, x, out=gains[:, :size])
            _fields(filters, white[:, :, top : rows.stop + 2 * self.config.margin], fields[: rows.stop - top])
            parts = gains[:, :size].view(3, self.config.fields, -1, width)
            parts *= fields[: rows.stop - top].transpose(0, 1)
            torch.sum(parts, 1, out=noise[0, :, rows])
        return noise


def _fields(filters: Tensor, white: Tensor, made: Tensor) -> None:
    """Fills made (h, fields, w) with white noise (1, 3, h + K − 1, w + K − 1) through `_by_column`'s filters.

    With each row's channels one below the other, what a row of the answer sees through one column of a filter is a
    matrix, whose rows are read where they are.
    """
    (size, _, seen), (height, _, width) = filters.shape, made.shape
    lines = white[0].transpose(0, 1).contiguous()  # (h + K − 1, 3, w + K − 1)
    windows = lines.as_strided((height, seen, lines.shape[2]), (lines.stride(0), lines.stride(1), 1))
    torch.bmm(filters[0].expand(height, -1, -1), windows[:, :, :width], out=made)
    for column in range(1, size):
        made.baddbmm_(filters[column].expand(height, -1, -1), windows[:, :, column : column + width])


def _matrix(layer: nn.Module, norm: nn.Module | None = None) -> Tensor:
    """Weight and bias (out, in + 1) of a 1×1 convolution and of the BatchNorm, if it is one, after it."""
    assert isinstance(layer, nn.Conv2d)
    assert layer.bias is not None
    matrix = torch.cat([layer.weight.flatten(1), layer.bias[:, None]], 1)
    if isinstance(norm, nn.BatchNorm2d):
        assert norm.running_mean is not None
        assert norm.running_var is not None
        factor = norm.weight / (norm.running_var + norm.eps).sqrt()
        matrix = matrix * factor[:, None]
        matrix[:, -1] += norm.bias - norm.running_mean * factor
    return matrix


def _by_column(filters: Tensor) -> Tensor:
    """Filters (fields, 3, K, K) → (K, fields, K·3): their columns, each with its rows' channels one after the other."""
    return filters.permute(3, 0, 2, 1).flatten(2).contiguous()
