"""Networks of tables, of recommendations and of sets."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.zoo.convolutional import CLASSES
from benchmarks.zoo.entry import Call, Entry, draw

COLUMNS = 8


def sparsemax(z: Tensor, dim: int = -1) -> Tensor:
    """The nearest point of the simplex."""
    falling, _ = torch.sort(z, dim=dim, descending=True)
    sums = falling.cumsum(dim) - 1
    ranks = torch.arange(1, z.size(dim) + 1, dtype=z.dtype, device=z.device)
    support = ranks * falling > sums
    size = support.sum(dim=dim, keepdim=True)
    return torch.clamp(z - sums.gather(dim, size - 1) / size.to(z.dtype), min=0)


def entmoid(x: Tensor) -> Tensor:
    """entmax 1.5 of two numbers, as NODE has it."""
    size = x.abs()
    positive = torch.where(size < 2, 0.5 * (x.abs() / 2 + torch.sqrt(torch.clamp(2 - size**2 / 4, min=0.1))), torch.ones_like(size))
    return torch.where(x > 0, positive, 1 - positive).clamp(0, 1)


class FTTransformer(nn.Module):
    """A token for each column."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias, self.cls = (
            nn.Parameter(torch.randn(COLUMNS, 8)),
            nn.Parameter(torch.randn(COLUMNS, 8)),
            nn.Parameter(torch.randn(8)),
        )
        layer = nn.TransformerEncoderLayer(8, 2, 16, activation="gelu", batch_first=True, norm_first=True)
        self.encoder, self.head = (
            nn.TransformerEncoder(layer, 1, enable_nested_tensor=False),
            nn.Sequential(nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, CLASSES)),
        )

    def forward(self, x: Tensor) -> Tensor:
        tokens = torch.cat([self.cls.expand(x.shape[0], 1, -1), x[..., None] * self.weight + self.bias], 1)
        return self.head(self.encoder(tokens)[:, 0])


class TabTransformer(nn.Module):
    """Embedded categories that attend, and continuous columns beside them."""

    def __init__(self) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(5, 8) for _ in range(3))
        self.attn, self.norm, self.mlp = (
            nn.MultiheadAttention(8, 2, batch_first=True),
            nn.LayerNorm(4),
            nn.Sequential(nn.Linear(28, 12), nn.SELU(), nn.Linear(12, CLASSES)),
        )

    def forward(self, numbers: Tensor, categories: Tensor) -> Tensor:
        words = torch.stack([table(categories[:, i]) for i, table in enumerate(self.tables)], 1)
        words = words + self.attn(words, words, words)[0]
        return self.mlp(torch.cat([words.flatten(1), self.norm(numbers)], -1))


class TabNet(nn.Module):
    """Sparse masks of columns, step by step, with ghost-free batch norm and gated blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.shared = nn.BatchNorm1d(COLUMNS), nn.Linear(COLUMNS, 16)
        self.attentive, self.steps, self.fc = (
            nn.ModuleList(nn.Linear(4, COLUMNS) for _ in range(2)),
            nn.ModuleList(nn.Linear(8, 16) for _ in range(3)),
            nn.Linear(4, CLASSES),
        )

    def transform(self, x: Tensor, i: int) -> Tensor:
        """Two gated blocks with a skip."""
        h = F.glu(self.shared(x), -1)
        return (h + F.glu(self.steps[i](h), -1)) * 0.5**0.5

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        prior, total = torch.ones_like(x), 0
        attention = self.transform(x, 0)[:, 4:]
        for i, attentive in enumerate(self.attentive):
            mask = sparsemax(attentive(attention) * prior)
            prior = prior * (1.3 - mask)
            decision, attention = self.transform(mask * x, i + 1).split(4, -1)
            total = total + F.relu(decision)
        return self.fc(total)


class ObliviousTrees(nn.Module):
    """NODE: soft trees whose leaves are an outer product of choices."""

    def __init__(self) -> None:
        super().__init__()
        self.choice, self.threshold, self.log_scale = (
            nn.Parameter(torch.randn(COLUMNS, 4, 3)),
            nn.Parameter(torch.randn(4, 3)),
            nn.Parameter(torch.randn(4, 3)),
        )
        self.response = nn.Parameter(torch.randn(4, CLASSES, 8))
        codes = (torch.arange(8)[None] // 2 ** torch.arange(3)[:, None]) % 2
        self.register_buffer("codes", torch.stack([codes, 1 - codes], -1).float())

    def forward(self, x: Tensor) -> Tensor:
        values = torch.einsum("bi,ndi->bnd", x, sparsemax(self.choice.permute(1, 2, 0)))
        logits = (values - self.threshold) * torch.exp(-self.log_scale)
        bins = entmoid(torch.stack([-logits, logits], dim=-1))
        matches = torch.einsum("btds,dcs->btdc", bins, self.codes)
        return torch.einsum("btc,tkc->btk", torch.prod(matches, dim=-2), self.response).mean(1)


class SoftTree(nn.Module):
    """A tree of sigmoid decisions, level by level."""

    def __init__(self) -> None:
        super().__init__()
        self.decide, self.leaves = nn.Linear(COLUMNS, 7), nn.Parameter(torch.randn(8, CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        right = torch.sigmoid(self.decide(x))
        reach, start = x.new_ones(x.shape[0], 1, 1), 0
        for level in range(3):
            here = right[:, start : start + 2**level].unsqueeze(2)
            reach = (reach.reshape(x.shape[0], -1, 1) * torch.cat((1 - here, here), dim=2)).reshape(x.shape[0], -1, 1)
            start += 2**level
        return reach.squeeze(-1) @ self.leaves


class CrossNetwork(nn.Module):
    """DCN: crosses of both versions beside a deep part."""

    def __init__(self) -> None:
        super().__init__()
        self.w, self.b, self.cross = (
            nn.Parameter(torch.randn(2, COLUMNS, 1)),
            nn.Parameter(torch.randn(2, COLUMNS)),
            nn.Linear(COLUMNS, COLUMNS),
        )
        self.deep, self.fc = (
            nn.Sequential(nn.Linear(COLUMNS, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2)),
            nn.Linear(COLUMNS + 8, CLASSES),
        )

    def forward(self, x: Tensor) -> Tensor:
        h = x
        for w, b in zip(self.w, self.b, strict=True):
            h = x * (h @ w) + b + h
        return self.fc(torch.cat([x * self.cross(h) + h, self.deep(x)], 1))


class FactorizationMachine(nn.Module):
    """DeepFM: pairs by squares of sums, a linear part, a deep part; from ids of fields."""

    def __init__(self) -> None:
        super().__init__()
        self.factors, self.linear, self.deep = (
            nn.Embedding(20, 4),
            nn.Embedding(20, 1),
            nn.Sequential(nn.Linear(20, 8), nn.ReLU(), nn.Linear(8, 1)),
        )
        self.register_buffer("offsets", torch.arange(5) * 4)

    def forward(self, fields: Tensor) -> Tensor:
        fields = fields + self.offsets.unsqueeze(0)
        v = self.factors(fields)
        pairs = 0.5 * (v.sum(1).pow(2) - v.pow(2).sum(1)).sum(1, keepdim=True)
        return torch.sigmoid(self.linear(fields).sum(1) + pairs + self.deep(v.view(v.size(0), -1))).squeeze(1)


class WideAndDeep(nn.Module):
    """A linear model and a deep one, the first of crossed columns."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.deep = nn.Linear(COLUMNS + 28, CLASSES), nn.Sequential(nn.Linear(COLUMNS, 8), nn.ReLU(), nn.Linear(8, CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = torch.triu_indices(COLUMNS, COLUMNS, 1)
        return self.wide(torch.cat([x, x[:, rows] * x[:, columns]], 1)) + self.deep(x)


class TwoTowers(nn.Module):
    """Users and items, their cosine over a temperature; an embedding bag of what a user bought."""

    def __init__(self) -> None:
        super().__init__()
        self.user, self.item = nn.Sequential(nn.Linear(COLUMNS, 8), nn.Tanh(), nn.Linear(8, 6)), nn.Linear(COLUMNS, 6)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return F.cosine_similarity(self.user(user), self.item(item), dim=-1) / 0.2


class Siamese(nn.Module):
    """One network for both, the distance and the size of the difference."""

    def __init__(self) -> None:
        super().__init__()
        self.twin, self.fc = nn.Sequential(nn.Linear(COLUMNS, 8), nn.ReLU(), nn.Linear(8, 6)), nn.Linear(8, CLASSES)

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        a, b = self.twin(one), self.twin(other)
        return self.fc(torch.cat([torch.abs(a - b), F.pairwise_distance(a, b, keepdim=True), (a * b).sum(-1, True)], 1))


class Interactions(nn.Module):
    """DLRM: dot products of all pairs, the lower triangle of them; and nn.Bilinear."""

    def __init__(self) -> None:
        super().__init__()
        self.bottom, self.bilinear = nn.Sequential(nn.Linear(COLUMNS, 16), nn.ReLU()), nn.Bilinear(COLUMNS, 4, CLASSES)
        self.fc = nn.Linear(6 + 4, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        parts = self.bottom(x).view(-1, 4, 4)
        Z = torch.bmm(parts, parts.transpose(1, 2))
        rows, columns = torch.tril_indices(4, 4, offset=-1)
        return self.fc(torch.cat([parts[:, 0], Z[:, rows, columns]], 1)) + self.bilinear(x, parts[:, -1])


class AdditiveModel(nn.Module):
    """NAM: a network for each column by a grouped convolution, and exp-centred hidden units."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(COLUMNS, 6)), nn.Parameter(torch.randn(COLUMNS, 6))
        self.out = nn.Conv1d(COLUMNS * 6, COLUMNS * CLASSES, 1, groups=COLUMNS)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.clamp((x.unsqueeze(-1) - self.bias) * torch.exp(self.weight), 0, 1)
        return self.out(h.reshape(len(x), -1, 1)).view(len(x), COLUMNS, CLASSES).sum(1)


class KolmogorovArnold(nn.Module):
    """KAN: B-splines of each edge by the recursion of Cox and de Boor."""

    def __init__(self, features: int = COLUMNS, width: int = CLASSES) -> None:
        super().__init__()
        grid = torch.arange(-3, 9) * 0.4 - 1
        self.register_buffer("grid", grid.expand(features, -1).contiguous())
        self.base, self.spline = nn.Parameter(torch.randn(width, features)), nn.Parameter(torch.randn(width, features, 8))

    def bases(self, x: Tensor) -> Tensor:
        """[B, features, 8]"""
        x, grid = x.unsqueeze(-1), self.grid
        found = ((x >= grid[:, :-1]) & (x < grid[:, 1:])).to(x.dtype)
        for k in range(1, 4):
            left = (x - grid[:, : -(k + 1)]) / (grid[:, k:-1] - grid[:, : -(k + 1)])
            right = (grid[:, k + 1 :] - x) / (grid[:, k + 1 :] - grid[:, 1:-k])
            found = left * found[..., :-1] + right * found[..., 1:]
        return found

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(x)
        return F.linear(F.silu(x), self.base) + F.linear(self.bases(x).view(x.size(0), -1), self.spline.view(CLASSES, -1))


class RadialBasis(nn.Module):
    """Distances to centres and their Gaussians, normalised."""

    def __init__(self) -> None:
        super().__init__()
        self.centres, self.log_width, self.fc = nn.Parameter(torch.randn(6, COLUMNS)), nn.Parameter(torch.zeros(6)), nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        phi = torch.exp(-0.1 * (torch.cdist(x, self.centres) / self.log_width.exp()) ** 2)
        return self.fc(phi / phi.sum(1, keepdim=True))


class PrototypeNetwork(nn.Module):
    """Minus squared distances to prototypes, by the expanded square."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.prototypes = (
            nn.Sequential(nn.Linear(COLUMNS, 8), nn.ReLU(), nn.Linear(8, 6)),
            nn.Parameter(torch.randn(CLASSES, 6)),
        )

    def forward(self, x: Tensor) -> Tensor:
        z = self.embed(x)
        distances = z.pow(2).sum(1, keepdim=True) - 2 * z @ self.prototypes.t() + self.prototypes.pow(2).sum(1)
        return torch.log((distances + 1) / (distances + 1e-4))


class PointNet(nn.Module):
    """Points through shared layers, a predicted transform, and the maximum."""

    def __init__(self) -> None:
        super().__init__()
        self.locate, self.shared, self.fc = (
            nn.Sequential(nn.Conv1d(3, 8, 1), nn.ReLU(), nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Linear(8, 9)),
            nn.Conv1d(3, 8, 1),
            nn.Linear(8, CLASSES),
        )

    def forward(self, points: Tensor) -> Tensor:
        matrix = self.locate(points).view(-1, 3, 3) + torch.eye(3, dtype=points.dtype, device=points.device)
        moved = torch.bmm(points.transpose(2, 1), matrix).transpose(2, 1)
        return F.log_softmax(self.fc(torch.max(F.relu(self.shared(moved)), 2)[0]), dim=-1)


class DynamicGraph(nn.Module):
    """DGCNN: edges to the nearest points, found in the network."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Sequential(nn.Conv2d(6, 8, 1, bias=False), nn.BatchNorm2d(8), nn.LeakyReLU(0.2)), nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        inner = -2 * torch.matmul(x.transpose(2, 1), x)
        square = torch.sum(x**2, dim=1, keepdim=True)
        nearest = (-square - inner - square.transpose(2, 1)).topk(k=3, dim=-1)[1]
        _, D, N = x.shape
        points = x.transpose(2, 1).contiguous()
        neighbours = torch.gather(points.unsqueeze(1).expand(-1, N, -1, -1), 2, nearest.unsqueeze(-1).expand(-1, -1, -1, D))
        centre = points.unsqueeze(2).expand(-1, -1, 3, -1)
        edges = torch.cat((neighbours - centre, centre), dim=3).permute(0, 3, 1, 2)
        return self.fc(self.conv(edges).max(dim=-1)[0].max(dim=-1)[0])


class DeepSets(nn.Module):
    """Sums, means and maxima over a set, of which some members are masked."""

    def __init__(self) -> None:
        super().__init__()
        self.phi, self.rho = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 6)), nn.Linear(18, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        mask = (x[..., 0] > -1).unsqueeze(-1)
        h = self.phi(x)
        total = (h * mask).sum(1)
        return self.rho(torch.cat([total, total / mask.sum(1).clamp(min=1), h.masked_fill(~mask, -1e9).amax(1)], -1))


def _numbers_and_categories(samples: int) -> Call:
    return (torch.randn(samples, 4), torch.randint(0, 5, (samples, 3))), {}


def _pair(samples: int) -> Call:
    return (torch.randn(samples, COLUMNS), torch.randn(samples, COLUMNS)), {}


def _fields(samples: int) -> Call:
    return (torch.randint(0, 4, (samples, 5)),), {}


ROW = draw(COLUMNS)

TABULAR = (
    Entry("FT-Transformer", "tabular", FTTransformer, ROW),
    Entry("TabTransformer", "tabular", TabTransformer, _numbers_and_categories),
    Entry("TabNet", "tabular", TabNet, ROW),
    Entry("NODE trees", "tree", ObliviousTrees, ROW),
    Entry("soft decision tree", "tree", SoftTree, ROW),
    Entry("DCN", "recommendation", CrossNetwork, ROW),
    Entry("DeepFM", "recommendation", FactorizationMachine, _fields, embedded=True),
    Entry("Wide & Deep", "recommendation", WideAndDeep, ROW),
    Entry("two towers", "recommendation", TwoTowers, _pair),
    Entry("Siamese", "metric learning", Siamese, _pair),
    Entry("DLRM", "recommendation", Interactions, ROW),
    Entry("NAM", "additive", AdditiveModel, ROW),
    Entry("KAN", "splines", KolmogorovArnold, ROW),
    Entry("RBF network", "kernel", RadialBasis, ROW),
    Entry("prototypes", "metric learning", PrototypeNetwork, ROW),
    Entry("PointNet", "point cloud", PointNet, draw(3, 12)),
    Entry("DGCNN", "point cloud", DynamicGraph, draw(3, 8)),
    Entry("deep sets", "set", DeepSets, draw(6, 3)),
)
