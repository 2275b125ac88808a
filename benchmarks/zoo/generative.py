"""Networks that generate, compress or simulate: diffusion, flows, autoencoders, critics, differential equations."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.zoo.convolutional import CLASSES
from benchmarks.zoo.entry import Call, Entry, draw


class TimeEmbedding(nn.Module):
    """Sinusoids of a step, and an MLP."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width, self.mlp = width, nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))

    def forward(self, t: Tensor) -> Tensor:
        half = self.width // 2
        frequencies = torch.exp(-math.log(1000) * torch.arange(half, device=t.device) / half)
        angles = t.float()[:, None] * frequencies[None]
        return self.mlp(torch.cat([torch.sin(angles), torch.cos(angles)], dim=-1).to(self.mlp[0].weight.dtype))


class DiffusionUNet(nn.Module):
    """Group norms, attention over pixels, time as a scale and a shift."""

    def __init__(self) -> None:
        super().__init__()
        self.time, self.scale = TimeEmbedding(8), nn.Linear(8, 16)
        self.stem, self.down = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, 2, 1)
        self.norm1, self.norm2, self.conv = nn.GroupNorm(4, 8), nn.GroupNorm(2, 8), nn.Conv2d(8, 8, 3, padding=1)
        self.qkv, self.proj, self.up = nn.Conv2d(8, 24, 1), nn.Conv2d(8, 8, 1), nn.ConvTranspose2d(8, 8, 4, 2, 1)
        self.out = nn.Sequential(nn.GroupNorm(4, 16), nn.SiLU(), nn.Conv2d(16, 3, 3, padding=1))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        scale, shift = self.scale(F.silu(self.time(t)))[:, :, None, None].chunk(2, dim=1)
        skip = self.stem(x)
        h = self.down(skip)
        h = h + self.conv(F.silu(self.norm1(h) * (scale + 1) + shift))
        q, k, v = self.qkv(self.norm2(h)).flatten(2).chunk(3, dim=1)
        h = h + self.proj((torch.einsum("bcn,bcm->bnm", q * 8**-0.5, k).softmax(-1) @ v.transpose(1, 2)).transpose(1, 2).reshape(h.shape))
        return self.out(torch.cat([self.up(h), skip], 1)).flatten(2).mean(-1)


class DiffusionTransformer(nn.Module):
    """DiT: adaLN-zero modulation and unpatchify."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.time, self.labels = nn.Conv2d(3, 8, 4, 4), TimeEmbedding(8), nn.Embedding(4, 8)
        self.norm, self.modulate = nn.LayerNorm(8, elementwise_affine=False, eps=1e-6), nn.Sequential(nn.SiLU(), nn.Linear(8, 48))
        self.qkv, self.mlp, self.final = (
            nn.Linear(8, 24),
            nn.Sequential(nn.Linear(8, 16), nn.GELU(approximate="tanh"), nn.Linear(16, 8)),
            nn.Linear(8, 48),
        )

    def forward(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        c = self.time(t) + self.labels(y)
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulate(c).unsqueeze(1).chunk(6, dim=-1)
        q, k, v = self.qkv(self.norm(x) * (1 + scale1) + shift1).unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4)
        x = x + gate1 * F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = x + gate2 * self.mlp(self.norm(x) * (1 + scale2) + shift2)
        pixels = torch.einsum("nhwpqc->nchpwq", self.final(x).reshape(len(x), 2, 2, 4, 4, 3))
        return pixels.reshape(len(x), 3, 8, 8).amax((2, 3))


class VectorQuantizer(nn.Module):
    """VQ-VAE: the nearest code, straight through."""

    def __init__(self) -> None:
        super().__init__()
        self.encode, self.codes, self.decode = nn.Conv2d(3, 4, 4, 4), nn.Embedding(6, 4), nn.ConvTranspose2d(4, 3, 4, 4)

    def forward(self, x: Tensor) -> Tensor:
        z = self.encode(x).permute(0, 2, 3, 1).contiguous()
        flat = z.view(-1, 4)
        distances = flat.pow(2).sum(1, keepdim=True) + self.codes.weight.pow(2).sum(1) - 2 * flat @ self.codes.weight.t()
        quantized = self.codes(torch.argmin(distances, dim=1)).view(z.shape)
        quantized = z + (quantized - z).detach()
        return torch.tanh(self.decode(quantized.permute(0, 3, 1, 2))).mean((2, 3))


class FiniteScalar(nn.Module):
    """FSQ: rounding to a few levels, straight through."""

    def __init__(self) -> None:
        super().__init__()
        self.encode, self.decode = nn.Linear(8, 3), nn.Linear(3, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        z = torch.tanh(self.encode(x)) * 2
        return self.decode(z + (z.round() - z).detach())


class VariationalAutoencoder(nn.Module):
    """Reconstruction from the mean, and minus the evidence bound."""

    def __init__(self) -> None:
        super().__init__()
        self.encode, self.decode = (
            nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 6)),
            nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 8)),
        )

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        mean, logvar = self.encode(x).chunk(2, 1)
        z = mean + torch.randn_like(mean) * torch.exp(0.5 * logvar) if self.training else mean
        found = self.decode(z)
        divergence = -0.5 * (1 + logvar - mean.pow(2) - logvar.exp()).sum(1)
        return {"loss": F.mse_loss(found, x, reduction="none").sum(1) + divergence, "reconstruction": found}


class RealNVP(nn.Module):
    """Couplings, permutations and an actnorm; the log-likelihood is the output."""

    def __init__(self) -> None:
        super().__init__()
        self.couplings = nn.ModuleList(nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 8)) for _ in range(3))
        self.scale, self.shift = nn.Parameter(torch.rand(8) + 0.5), nn.Parameter(torch.randn(8))
        self.register_buffer("order", torch.randperm(8))

    def forward(self, x: Tensor) -> Tensor:
        x, log_det = (x + self.shift) * self.scale, self.scale.abs().log().sum().expand(len(x))
        for net in self.couplings:
            fixed, moved = x[:, ::2], x[:, 1::2]
            log_scale, shift = net(fixed).chunk(2, 1)
            log_scale = torch.tanh(log_scale)
            x = torch.stack([fixed, moved * torch.exp(log_scale) + shift], 2).flatten(1)[:, self.order]
            log_det = log_det + log_scale.sum(1)
        normal = torch.distributions.MultivariateNormal(torch.zeros(8, dtype=x.dtype), torch.eye(8, dtype=x.dtype))
        return normal.log_prob(x) + log_det


class Glow(nn.Module):
    """Squeezed images, an invertible 1 x 1 convolution and its log-determinant."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.net = nn.Parameter(torch.linalg.qr(torch.randn(12, 12))[0]), nn.Conv2d(6, 12, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        B, C, H, W = x.shape
        x = x.reshape(B, C, H // 2, 2, W // 2, 2).permute(0, 1, 3, 5, 2, 4).reshape(B, 4 * C, H // 2, W // 2)
        x = F.conv2d(x, self.weight.view(12, 12, 1, 1))
        first, second = x.chunk(2, 1)
        shift, scale = self.net(first)[:, 0::2], self.net(first)[:, 1::2]
        scale = torch.sigmoid(scale + 2.0)
        z = torch.cat([first, (second + shift) * scale], 1)
        return (-0.5 * z**2).sum((1, 2, 3)) + scale.log().flatten(1).sum(-1) + torch.slogdet(self.weight)[1] * (H // 2) * (W // 2)


class Critic(nn.Module):
    """A spectrally normalised critic with equalised learning rate, pixel norm and a minibatch statistic of the sample's own."""

    def __init__(self) -> None:
        super().__init__()
        norm = nn.utils.parametrizations.spectral_norm
        self.first, self.second, self.weight = (
            norm(nn.Conv2d(3, 8, 3, 2, 1)),
            norm(nn.Conv2d(9, 8, 3, 2, 1)),
            nn.Parameter(torch.randn(CLASSES, 8)),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = F.leaky_relu(self.first(x), 0.2)
        x = x / torch.sqrt(torch.mean(x**2, dim=1, keepdim=True) + 1e-8)
        spread = x.var(dim=(2, 3), unbiased=False, keepdim=True).add(1e-8).sqrt().mean(1, keepdim=True)
        x = torch.cat([x, spread.expand(-1, -1, *x.shape[2:])], 1)
        return F.linear(F.leaky_relu(self.second(x), 0.2).sum((2, 3)), self.weight * math.sqrt(2 / 8))


class StyleGenerator(nn.Module):
    """StyleGAN2: weights modulated and demodulated by each sample, in one grouped convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.constant, self.style, self.weight, self.rgb = (
            nn.Parameter(torch.randn(1, 4, 4, 4)),
            nn.Linear(8, 4),
            nn.Parameter(torch.randn(1, 6, 4, 3, 3)),
            nn.Conv2d(6, 3, 1),
        )

    def forward(self, z: Tensor) -> Tensor:
        B = z.shape[0]
        x, style = self.constant.repeat(B, 1, 1, 1), self.style(z).view(B, 1, 4, 1, 1)
        weight = self.weight * (style + 1)
        weight = weight * torch.rsqrt(weight.pow(2).sum([2, 3, 4]) + 1e-8).view(B, 6, 1, 1, 1)
        out = F.conv2d(x.reshape(1, B * 4, 4, 4), weight.view(B * 6, 4, 3, 3), padding=1, groups=B).view(B, 6, 4, 4)
        return F.interpolate(self.rgb(F.leaky_relu(out, 0.2)), scale_factor=2, mode="bilinear").amax((2, 3))


class AdaptiveStyle(nn.Module):
    """AdaIN: the statistics of one image for another."""

    def __init__(self) -> None:
        super().__init__()
        self.encode, self.decode = nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(3, 6, 3), nn.ReLU()), nn.Conv2d(6, 3, 3)

    def forward(self, content: Tensor, style: Tensor) -> Tensor:
        c, s = self.encode(content), self.encode(style)
        c_std, c_mean = torch.std_mean(c, dim=(2, 3), keepdim=True)
        s_std, s_mean = torch.std_mean(s, dim=(2, 3), keepdim=True)
        return self.decode((c - c_mean) / (c_std + 1e-5) * s_std + s_mean).mean((2, 3))


class NeuralODE(nn.Module):
    """Runge-Kutta steps of fixed size."""

    def __init__(self) -> None:
        super().__init__()
        self.field, self.fc = nn.Sequential(nn.Linear(7, 10), nn.Tanh(), nn.Linear(10, 6)), nn.Linear(6, CLASSES)

    def slope(self, t: float, y: Tensor) -> Tensor:
        """The field."""
        return self.field(torch.cat([y, torch.full_like(y[:, :1], t)], 1))

    def forward(self, y: Tensor) -> Tensor:
        h = 0.25
        for i in range(4):
            t = i * h
            k1 = self.slope(t, y)
            k2 = self.slope(t + h / 2, y + h / 2 * k1)
            k3 = self.slope(t + h / 2, y + h / 2 * k2)
            y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + self.slope(t + h, y + h * k3))
        return self.fc(y)


class FourierOperator(nn.Module):
    """FNO: low frequencies through complex weights, written into a spectrum of zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.lift, self.weight = nn.Conv1d(2, 6, 1), nn.Parameter(torch.randn(6, 6, 4, dtype=torch.cfloat) / 6)
        self.skip, self.fc = nn.Conv1d(6, 6, 1), nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.lift(x)
        spectrum = torch.fft.rfft(x)
        out = torch.zeros(x.shape[0], 6, x.size(-1) // 2 + 1, device=x.device, dtype=spectrum.dtype)
        out[:, :, :4] = torch.einsum("bix,iox->box", spectrum[:, :, :4], self.weight.to(spectrum.dtype))
        return self.fc(F.gelu(torch.fft.irfft(out, n=x.size(-1)) + self.skip(x)).mean(-1))


class PhysicsInformed(nn.Module):
    """Sines of random features, as SIREN and NeRF have them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.out = nn.Linear(14, 10), nn.Linear(10, 10), nn.Linear(10, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        powers = 2.0 ** torch.arange(3, device=x.device)
        angles = (x[..., None] * powers.to(x.dtype)).flatten(-2)
        encoded = torch.cat([x, torch.sin(angles), torch.cos(angles)], dim=-1)
        return F.softplus(self.out(torch.sin(3 * self.second(torch.sin(3 * self.first(encoded))))))


class VolumeRenderer(nn.Module):
    """NeRF's compositing: transmittance by a running product."""

    def __init__(self) -> None:
        super().__init__()
        self.field = nn.Sequential(nn.Linear(3, 12), nn.ReLU(), nn.Linear(12, 4))

    def forward(self, rays: Tensor) -> Tensor:
        out = self.field(rays)
        steps = torch.cat([(rays[:, 1:] - rays[:, :-1]).norm(dim=-1), torch.full_like(rays[:, :1, 0], 1.0)], -1)
        alpha = 1 - torch.exp(-F.softplus(out[..., 3]) * steps)
        light = torch.cumprod(torch.cat([torch.ones_like(alpha[:, :1]), 1 - alpha + 1e-10], -1), -1)[:, :-1]
        return ((alpha * light)[..., None] * out[..., :3].sigmoid()).sum(-2)


class ComplexNetwork(nn.Module):
    """Complex weights, modReLU, and the size of what comes out."""

    def __init__(self) -> None:
        super().__init__()
        self.real, self.imag, self.bias, self.fc = nn.Linear(8, 6), nn.Linear(8, 6), nn.Parameter(-torch.rand(6)), nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        z = torch.complex(self.real(x), self.imag(x)) * torch.exp(1j * self.bias)
        size = z.abs()
        z = F.relu(size + self.bias) * z / (size + 1e-3)
        return self.fc(torch.view_as_real(z).pow(2).sum(-1).sqrt() + z.real)


class Energy(nn.Module):
    """A Hopfield/energy network: a few steps down the gradient written out, the energy as its output."""

    def __init__(self) -> None:
        super().__init__()
        self.patterns = nn.Parameter(torch.randn(10, 8))

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(3):
            x = torch.softmax(2 * x @ self.patterns.T, -1) @ self.patterns
        return -torch.logsumexp(2 * x @ self.patterns.T, -1) / 2 + 0.5 * x.square().sum(-1)


def _image_and_step(samples: int) -> Call:
    return (torch.randn(samples, 3, 8, 8), torch.arange(3, 3 + samples)), {}


def _image_step_and_label(samples: int) -> Call:
    return (torch.randn(samples, 3, 8, 8), torch.arange(3, 3 + samples), torch.arange(samples) % 4), {}


def _two_images(samples: int) -> Call:
    return (torch.randn(samples, 3, 8, 8), torch.randn(samples, 3, 8, 8)), {}


GENERATIVE = (
    Entry("diffusion U-Net", "diffusion", DiffusionUNet, _image_and_step),
    Entry("DiT", "diffusion", DiffusionTransformer, _image_step_and_label),
    Entry("VQ-VAE", "autoencoder", VectorQuantizer, draw(3, 8, 8)),
    Entry("FSQ", "autoencoder", FiniteScalar, draw(8)),
    Entry("VAE", "autoencoder", VariationalAutoencoder, draw(8), "loss"),
    Entry("RealNVP", "flow", RealNVP, draw(8)),
    Entry("Glow", "flow", Glow, draw(3, 8, 8)),
    Entry("SNGAN critic", "adversarial", Critic, draw(3, 16, 16)),
    Entry("StyleGAN2", "adversarial", StyleGenerator, draw(8)),
    Entry("AdaIN", "style", AdaptiveStyle, _two_images),
    Entry("neural ODE", "differential equation", NeuralODE, draw(6)),
    Entry("FNO", "operator", FourierOperator, draw(2, 16)),
    Entry("SIREN", "implicit", PhysicsInformed, draw(2)),
    Entry("NeRF", "implicit", VolumeRenderer, draw(6, 3)),
    Entry("complex network", "complex numbers", ComplexNetwork, draw(8)),
    Entry("Hopfield network", "energy", Energy, draw(8)),
)
