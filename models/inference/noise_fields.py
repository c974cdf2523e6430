"""Draws filtered noise for one image at a time, with the noise network arranged for a processor's caches."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.networks.noise import NOISE_UNIT, NoiseNetwork, ResidualBlock, noise_gain

# Low-resolution pixels whose gains are computed at once. On a CPU, few enough that the layers' outputs stay in the
# cache, and enough that threads do not wait for the interpreter lock. A GPU needs more.
CHUNK_PIXELS = 32_768
CHUNK_PIXELS_ON_GPU = 2**20


class Buffers(NamedTuple):
    """Memory for `FilteredNoiseSampler.draw`. The first three have a last row of ones, for the bias."""

    image: Tensor  # (3 + 1, pixels)
    hidden: Tensor  # (width + 1, pixels)
    inner: Tensor  # (width + 1, pixels)
    gains: Tensor  # (3·F, pixels)
    filtered: Tensor  # (rows, F, columns)


class FilteredNoiseSampler:
    """Draws the noise of a network that has filters. It copies the weights: if they change, build another.

    The network's layers are 1×1 convolutions, so each is a matrix product with the pixels of some rows. Each matrix has
    the bias as its last column, for a row of ones, and includes the BatchNorm after it, in eval mode. The product with
    z, which all pixels share, is computed once an image.
    """

    def __init__(self, network: NoiseNetwork):
        assert network.filters is not None
        assert network.level is not None
        self.network, self.config = network, network.config
        self.level, self.warp_latent = network.level, network.warp_latent
        blocks = [layer.body for layer in network.body if isinstance(layer, ResidualBlock)]
        with torch.no_grad():
            first = _fold_batchnorm(network.body[0], network.body[1])  # (width, z + 3 + 1)
            self.w_latent, self.w_image = first[:, : self.config.z], first[:, self.config.z :].clone()
            self.w_image[:, :3] /= 255
            self.blocks = [(_fold_batchnorm(body[0], body[1]), _fold_batchnorm(body[3])) for body in blocks]
            self.head = _fold_batchnorm(network.head)  # (3·F, width + 1)
            self.filters = _filter_columns(network.filters.weight)

    def allocate(self, images: Tensor) -> Buffers:
        """Returns memory for images (n, 3, h, w), one after another."""
        height, width = images.shape[2:]
        step = min(height, max(1, (CHUNK_PIXELS_ON_GPU if images.is_cuda else CHUNK_PIXELS) // width))
        rows = (3, self.config.width, self.config.width)
        image, hidden, inner = (images.new_ones(number + 1, step * width) for number in rows)
        gains = images.new_empty(len(self.head), step * width)
        return Buffers(image, hidden, inner, gains, images.new_empty(step, self.config.num_filters, width))

    def draw(self, z: Tensor, blurred: Tensor, white_noise: Tensor, buffers: Buffers | None = None) -> Tensor:
        """Returns what the network's forward returns, for one image: noise (1, 3, h, w), 1 = full scale.

        blurred (1, 3, h, w) is in 0..255. `buffers` are those of `allocate` for images of this size. Bands of rows
        depend on the image's size alone, because another order of summation may change the last bits.
        """
        z = self.warp_latent(z)
        height, width = blurred.shape[2:]
        noise = torch.empty_like(blurred)
        image, hidden, inner, gains, filtered = buffers or self.allocate(blurred)
        step = len(filtered)
        filters = self.filters * (NOISE_UNIT * noise_gain(self.level, z)[0])
        w_image = self.w_image.clone()
        w_image[:, 3] += self.w_latent @ z.flatten()
        for top in range(0, height, step):
            rows = slice(top, min(top + step, height))
            size = (rows.stop - top) * width
            image[:3, :size] = blurred[0, :, rows].flatten(1)
            x, y = hidden[:, :size], inner[:, :size]
            torch.mm(w_image, image[:, :size], out=x[:-1]).relu_()
            for fc1, fc2 in self.blocks:
                torch.mm(fc1, x, out=y[:-1]).relu_()
                x[:-1].addmm_(fc2, y)
            torch.mm(self.head, x, out=gains[:, :size])
            band = filtered[: rows.stop - top]
            _filter_rows(filters, white_noise[:, :, top : rows.stop + 2 * self.config.margin], band)
            products = gains[:, :size].view(3, self.config.num_filters, -1, width)
            products *= band.transpose(0, 1)
            torch.sum(products, 1, out=noise[0, :, rows])
        if self.config.edge_noise:
            noise += self.network.edge_noise(blurred / 255, white_noise)
        return noise


def _filter_rows(filters: Tensor, white_noise: Tensor, filtered: Tensor) -> None:
    """Fills filtered (h, F, w) with white noise (1, 3, h + K − 1, w + K − 1) through filters of `_filter_columns`.

    With each row's channels stacked, what one output row needs for one filter column is a strided view: no copy.
    """
    (size, _, depth), (height, _, width) = filters.shape, filtered.shape
    lines = white_noise[0].transpose(0, 1).contiguous()  # (h + K − 1, 3, w + K − 1)
    windows = lines.as_strided((height, depth, lines.shape[2]), (lines.stride(0), lines.stride(1), 1))
    torch.bmm(filters[0].expand(height, -1, -1), windows[:, :, :width], out=filtered)
    for column in range(1, size):
        filtered.baddbmm_(filters[column].expand(height, -1, -1), windows[:, :, column : column + width])


def _fold_batchnorm(layer: nn.Module, norm: nn.Module | None = None) -> Tensor:
    """Returns weight and bias (out, in + 1) of a 1×1 convolution, including the BatchNorm after it, if any."""
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


def _filter_columns(filters: Tensor) -> Tensor:
    """Reorders filters (F, 3, K, K) into their columns (K, F, K·3): row by row, channel by channel."""
    return filters.permute(3, 0, 2, 1).flatten(2).contiguous()
