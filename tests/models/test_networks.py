from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from scipy.ndimage import gaussian_filter
from scipy.stats import kstest, uniform
from torch import Tensor, nn

from models.degradation import Degradation, DegradationConfig
from models.geometry import SCALES
from models.losses import lsgan_loss, noise_l2, quantize_ste
from models.networks.discriminator import DiscriminatorConfig, PatchDiscriminator
from models.networks.edsr import EDSR, EDSRConfig
from models.networks.kernel import KernelConfig, KernelNetwork, center_logits
from models.networks.noise import (
    NoiseConfig,
    NoiseNetwork,
    filter_correlation_penalty,
    latent_gain_penalty,
    local_contrast,
)


def center_of_mass(kernel: Tensor) -> Tensor:
    offset = torch.arange(kernel.shape[-1], dtype=torch.float64)
    weight = kernel.double()
    return torch.stack([(weight.sum(2) * offset).sum(1), (weight.sum(1) * offset).sum(1)], 1)


def test_the_seed_presets_shapes_are_the_papers() -> None:
    degradation = Degradation(DegradationConfig())
    generator = torch.Generator().manual_seed(0)
    latents = degradation.draw_latents(32, (32, 32), generator)
    assert latents.kernel.shape == latents.noise.shape == (32, 3, 1, 1)
    lr, kernel, noise = degradation(torch.rand(32, 3, 128, 128, generator=generator), latents)
    assert lr.shape == (32, 3, 32, 32)
    assert kernel.shape == (32, 21, 21)
    assert noise.shape == (32, 1, 1, 1)
    assert degradation.kernel_origin == (-10, -10)
    assert PatchDiscriminator(DiscriminatorConfig())(lr).shape == (32, 64, 8, 8)
    assert EDSR(EDSRConfig(blocks=1))(lr[:2]).shape == (2, 3, 128, 128)


def test_mean_shifts_are_parameters_that_are_not_trained() -> None:
    edsr = EDSR(EDSRConfig())
    frozen = [name for name, parameter in edsr.named_parameters() if not parameter.requires_grad]
    assert frozen == ["sub_mean.weight", "sub_mean.bias", "add_mean.weight", "add_mean.bias"]
    assert sum(edsr.get_parameter(name).numel() for name in frozen) == 24


def test_edsr_has_the_official_checkpoints_names() -> None:
    names = set(EDSR(EDSRConfig()).state_dict())
    modules = ["head.0", "body.16", "tail.0.0", "tail.0.2", "tail.1", "sub_mean", "add_mean"]
    modules += [f"body.{block}.body.{layer}" for block in range(16) for layer in (0, 2)]
    assert names == {f"{module}.{part}" for module in modules for part in ("weight", "bias")}


@pytest.mark.parametrize("scale", SCALES)
def test_edsr_enlarges_by_its_scale(scale: int) -> None:
    lr = torch.rand(1, 3, 7, 5)
    assert EDSR(EDSRConfig(scale, width=8, blocks=1))(lr).shape == (1, 3, 7 * scale, 5 * scale)
    assert EDSR(EDSRConfig(scale, 8, 1, single_upsample=True))(lr).shape == (1, 3, 7 * scale, 5 * scale)
    bicubic = nn.functional.interpolate(lr, scale_factor=float(scale), mode="bicubic")
    torch.testing.assert_close(EDSR(EDSRConfig(scale, 8, 1, global_skip=True))(lr), bicubic)


@pytest.mark.parametrize("initial_sigma", [None, 2.0])
@pytest.mark.parametrize("batch_norm", [True, False])
def test_kernels_are_nonnegative_and_sum_to_one(initial_sigma: float | None, batch_norm: bool) -> None:
    network = KernelNetwork(KernelConfig(batch_norm=batch_norm, initial_sigma=initial_sigma))
    nn.init.normal_(network.head.weight, std=0.05)
    kernel = network(torch.randn(4, 3, 1, 1))
    assert kernel.min() >= 0
    torch.testing.assert_close(kernel.sum((1, 2)), torch.ones(4))
    assert not torch.equal(kernel[0], kernel[1])


def test_an_untrained_kernel_has_initial_sigma() -> None:
    config = KernelConfig(size=24, batch_norm=False, initial_sigma=1.7)
    kernel = KernelNetwork(config, center=11.5)
    nn.init.zeros_(kernel.head.weight)
    marginal = kernel(torch.zeros(1, 3, 1, 1))[0].sum(0)
    variance = (marginal * (torch.arange(24) - 11.5) ** 2).sum()
    assert variance.sqrt().item() == pytest.approx(1.7, abs=1e-4)


def test_a_kernel_as_published_starts_as_a_box() -> None:
    kernel = KernelNetwork(KernelConfig())(torch.randn(2, 3, 1, 1))[0]
    assert kernel[10, 10].item() == pytest.approx(torch.e / (torch.e + 440), rel=1e-5)
    assert kernel[0, 0].item() == pytest.approx(1 / (torch.e + 440), rel=1e-5)


@pytest.mark.parametrize("spread", [0.1, 1.0, 4.0])
@pytest.mark.parametrize(("size", "center"), [(21, 9.5), (24, 11.5), (11, 5.0)])
def test_centering_is_exact(size: int, center: float, spread: float) -> None:
    generator = torch.Generator().manual_seed(0)
    offset = torch.arange(size) - center
    blob = -(offset[:, None] ** 2 + (offset[None] - 3) ** 2) / 8  # three pixels off
    logits = blob.flatten() + spread * torch.randn(64, size**2, generator=generator)
    kernel = center_logits(logits, size, center).softmax(1).view(-1, size, size)
    assert (center_of_mass(kernel) - center).abs().max() < 1e-4


@pytest.mark.parametrize("sigma", [0.4, 1.0, 3.0])
@pytest.mark.parametrize("off", [0.5, 3.0, 6.0])
def test_centering_moves_kernels_that_are_far_off(sigma: float, off: float) -> None:
    offset = torch.arange(24) - 11.5
    blob = -((offset[:, None] - off) ** 2 + (offset[None] + off) ** 2) / (2 * sigma**2)
    second = -((offset[:, None] - 2 * off) ** 2 + offset[None] ** 2) / (2 * sigma**2)
    for logits in (blob, torch.logaddexp(blob, second)):
        kernel = center_logits(logits.flatten()[None], 24, 11.5).softmax(1).view(1, 24, 24)
        assert (center_of_mass(kernel) - 11.5).abs().max() < 1e-4


def test_centerings_gradient_is_the_derivative() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 25, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: center_logits(x, 5, 2.0).softmax(1), logits)


def test_a_centered_degradation_stays_centered() -> None:
    for scale, size in itertools.product(SCALES, [20, 21]):
        config = DegradationConfig(scale, KernelConfig(size=size, initial_sigma=2.0), None, center_kernels=True)
        degradation = Degradation(config)
        nn.init.normal_(degradation.kernel.head.weight, std=0.3)
        kernel = degradation.kernel(torch.randn(16, 3, 1, 1))
        center = center_of_mass(kernel) + torch.tensor(degradation.kernel_origin)
        torch.testing.assert_close(center, torch.full_like(center, (scale - 1) / 2), atol=2e-3, rtol=0)


@pytest.mark.parametrize("on_image", [False, True])
@pytest.mark.parametrize("spatial", [False, True])
def test_noise_depends_on_the_inputs_of_its_config(on_image: bool, spatial: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    size = 3 if spatial else 1
    config = NoiseConfig(
        condition_on_image=on_image,
        spatial=spatial,
        dim=3,
        head_kernel=size,
        body_kernel=size,
        blocks=1,
        batch_norm=False,
    )
    network = NoiseNetwork(config)
    nn.init.normal_(network.head.weight, std=0.05)
    degradation = Degradation(DegradationConfig(noise=config))
    z = degradation.draw_latents(2, (8, 6), generator).noise
    assert z.shape == ((2, 3, 8, 6) if spatial else (2, 3, 1, 1))
    blurred = torch.rand(2, 3, 8, 6, generator=generator, requires_grad=True)
    white = torch.empty(2, 0, 1, 1)
    noise = network(z, blurred, white)
    assert noise.shape == ((2, 3, 8, 6) if spatial or on_image else (2, 3, 1, 1))
    assert torch.equal(network(z, blurred * 0.5, white), noise) is not on_image
    torch.autograd.backward(noise.sum())
    assert blurred.grad is None  # the image enters detached


def test_three_by_three_noise_needs_spatial() -> None:
    with pytest.raises(ValueError, match="spatial"):
        NoiseConfig(condition_on_image=True, body_kernel=3)


def test_filtered_noise_has_mean_0_and_a_level_per_image() -> None:
    config = NoiseConfig(condition_on_image=True, dim=3, width=16, blocks=1, batch_norm=False, num_filters=4)
    degradation = Degradation(DegradationConfig(noise=config))
    assert degradation.noise
    nn.init.normal_(degradation.noise.head.weight)
    generator = torch.Generator().manual_seed(0)
    latents = degradation.draw_latents(4, (100, 90), generator, crops_per_photo=2)
    assert latents.white_noise.shape == (4, 3, 104, 94)
    blurred = torch.full((4, 3, 100, 90), 0.5)
    noise = degradation.draw_noise(latents, blurred)
    assert noise.shape == blurred.shape
    assert (noise.mean((2, 3)).abs() < 0.1 * noise.std((2, 3))).all()
    level = noise.std((1, 2, 3))
    torch.testing.assert_close(level[::2], level[1::2], rtol=0.05, atol=0)  # two crops of one photo
    assert abs(level[0] - level[2]) > 0.1 * level[0]
    mirrored = degradation.draw_noise(latents._replace(white_noise=-latents.white_noise), blurred)
    assert torch.equal(mirrored, -noise)


def test_crops_of_a_photo_share_its_latents() -> None:
    torch.manual_seed(0)
    degradation = Degradation(DegradationConfig(kernel=KernelConfig(batch_norm=False), noise=None))
    nn.init.normal_(degradation.kernel.head.weight)
    latents = degradation.draw_latents(6, (8, 8), torch.Generator().manual_seed(0), crops_per_photo=3)
    hr = torch.rand(1, 3, 32, 32).expand(6, -1, -1, -1)
    alone, together = degradation(hr, latents), degradation(hr, latents, crops_per_photo=3)
    torch.testing.assert_close(together.kernel, alone.kernel)
    torch.testing.assert_close(together.lr, alone.lr)
    assert torch.equal(together.lr[0], together.lr[2])
    assert not torch.allclose(together.kernel[2], together.kernel[3], atol=1e-3)


def test_with_stride_1_every_pixel_is_scored() -> None:
    discriminator = PatchDiscriminator(DiscriminatorConfig(width=8, scores=4, stride=1))
    assert discriminator(torch.rand(1, 3, 16, 12)).shape == (1, 4, 16, 12)


def test_losses_in_closed_form() -> None:
    scores = torch.tensor([[0.5, 2.0]])
    assert lsgan_loss(scores, real=True).item() == pytest.approx((0.25 + 1) / 2)
    assert lsgan_loss(scores, real=False).item() == pytest.approx((0.25 + 4) / 2)
    assert noise_l2(torch.tensor([1.0, -3.0])).item() == pytest.approx(5)


def test_quantize_ste_rounds_forward_and_clamps_backward() -> None:
    image = torch.tensor([-0.2, 0.1, 0.5, 0.9999, 1.3], requires_grad=True)
    rounded = quantize_ste(image)
    torch.testing.assert_close(rounded * 255, torch.tensor([0.0, 26.0, 128.0, 255.0, 255.0]))
    torch.autograd.backward(rounded.sum())
    assert image.grad is not None
    assert image.grad.tolist() == [0, 1, 1, 1, 0]


def test_smoothing_equals_scipys_gaussian_filter() -> None:
    network = KernelNetwork(KernelConfig(size=24, batch_norm=False, initial_sigma=2.0, smoothing=4 / 3))
    rough = KernelNetwork(KernelConfig(size=24, batch_norm=False, initial_sigma=2.0))
    nn.init.normal_(network.head.weight, std=0.05)
    rough.load_state_dict(network.state_dict())
    z = torch.randn(3, 3, 1, 1, generator=torch.Generator().manual_seed(0))
    logits = rough(z).double().log().detach().numpy()
    filtered = gaussian_filter(logits, (0, 4 / 3, 4 / 3), mode="nearest", radius=(0, 4, 4))
    expected = torch.from_numpy(filtered).flatten(1).softmax(1).view(3, 24, 24)
    torch.testing.assert_close(network(z).double(), expected, atol=1e-5, rtol=1e-3)


def test_the_correlation_penalty_makes_pixels_independent() -> None:
    torch.manual_seed(0)
    network = NoiseNetwork(
        NoiseConfig(condition_on_image=True, dim=3, width=16, blocks=1, batch_norm=False, num_filters=4)
    )
    assert network.filters
    nn.init.ones_(network.filters.weight)
    assert filter_correlation_penalty(network).item() == pytest.approx(24 / 25)
    z, blurred = torch.randn(2, 3, 1, 1), torch.full((2, 3, 60, 60), 0.5)

    def neighbor_correlation() -> float:
        noise = network(z, blurred, torch.randn(2, 3, 64, 64))
        return float((noise[..., 1:] * noise[..., :-1]).mean() / noise.square().mean())

    assert neighbor_correlation() > 0.7  # four of five columns are shared
    optimizer = torch.optim.Adam([network.filters.weight], 0.05)
    for _ in range(100):
        optimizer.zero_grad()
        torch.autograd.backward(filter_correlation_penalty(network))
        optimizer.step()
    assert filter_correlation_penalty(network) < 0.01
    assert abs(neighbor_correlation()) < 0.05


def test_local_contrast_is_the_slope() -> None:
    image = gaussian_filter(torch.randn(3, 24, 24, generator=torch.Generator().manual_seed(0)).double(), (0, 2, 2))
    mean = image.mean(0)
    power = ((mean[1:-1, 2:] - mean[1:-1, :-2]) / 2) ** 2 + ((mean[2:, 1:-1] - mean[:-2, 1:-1]) / 2) ** 2
    expected = gaussian_filter(power, 1, truncate=3) ** 0.5
    contrast = local_contrast(torch.from_numpy(image)[None])[0, 0].numpy()
    assert contrast[8:-8, 8:-8] == pytest.approx(expected[7:-7, 7:-7], rel=1e-4, abs=2e-5)


def test_noise_at_edges_is_added() -> None:
    config = NoiseConfig(condition_on_image=True, dim=3, batch_norm=False, num_filters=4)
    plain, edges = NoiseNetwork(config), NoiseNetwork(replace(config, edge_noise=0.2))
    edges.load_state_dict(plain.state_dict())
    generator = torch.Generator().manual_seed(0)
    z, white = torch.randn(1, 3, 1, 1, generator=generator), torch.randn(1, 3, 68, 68, generator=generator)
    ramp = (torch.arange(64.0).clamp(20, 44) / 64).expand(1, 3, 64, 64)
    added = edges(z, ramp, white) - plain(z, ramp, white)
    assert added[..., 26:38].std().item() == pytest.approx(0.2 / 64, rel=0.1)
    assert added[..., :14].abs().max() < 1e-5
    torch.testing.assert_close(added[:, 0], added[:, 1], atol=1e-6, rtol=1e-3)  # gray
    with pytest.raises(ValueError, match="needs noise filters"):
        NoiseConfig(edge_noise=0.2)


def test_a_warped_latent_is_uniform() -> None:
    network = NoiseNetwork(
        NoiseConfig(condition_on_image=True, dim=3, batch_norm=False, num_filters=4, uniform_latent=True)
    )
    warped = network.warp_latent(torch.randn(100_000, generator=torch.Generator().manual_seed(0))).numpy()
    assert kstest(warped, uniform(-(3**0.5), 2 * 3**0.5).cdf).pvalue > 0.01


def test_the_latent_gain_penalty_leaves_only_levels_apart() -> None:
    torch.manual_seed(0)
    network = NoiseNetwork(
        NoiseConfig(condition_on_image=True, dim=3, width=16, blocks=1, batch_norm=False, num_filters=4)
    )
    nn.init.normal_(network.head.weight)
    z, blurred = torch.tensor([-2.0, 2.0]).view(2, 1, 1, 1).expand(2, 3, 1, 1), torch.full((2, 3, 40, 40), 0.5)
    white = torch.randn(1, 3, 44, 44).expand(2, -1, -1, -1)

    def decorrelation() -> float:
        one, other = network(z, blurred, white).flatten(1)
        return 1 - torch.corrcoef(torch.stack([one, other]))[0, 1].item()

    assert decorrelation() > 0.01
    optimizer = torch.optim.Adam(network.body.parameters(), 0.05)
    for _ in range(200):
        optimizer.zero_grad()
        torch.autograd.backward(latent_gain_penalty(network))
        optimizer.step()
    assert decorrelation() < 1e-4
    one, other = network(z, blurred, white).std((1, 2, 3))
    assert abs(one / other - 1) > 0.02
