"""Ridge regression and convolution patches with plain loops, as a disentangler's exit needs them."""

import torch


def ridge(rows, targets, strength):
    """Gradient descent would do; this solves the normal equations of the centred columns by elimination, one number at a time."""
    n, k, d = len(rows), len(rows[0]), len(targets[0])
    means = [sum(row[j] for row in rows) / n for j in range(k)]
    wanted = [sum(row[j] for row in targets) / n for j in range(d)]
    gram = [[sum((row[i] - means[i]) * (row[j] - means[j]) for row in rows) / n for j in range(k)] for i in range(k)]
    cross = [
        [sum((r[i] - means[i]) * (t[j] - wanted[j]) for r, t in zip(rows, targets, strict=True)) / n for j in range(d)] for i in range(k)
    ]
    penalty = strength * sum(gram[i][i] for i in range(k)) / k
    for i in range(k):
        gram[i][i] += penalty
    for i in range(k):
        for below in range(i + 1, k):
            factor = gram[below][i] / gram[i][i]
            gram[below] = [a - factor * b for a, b in zip(gram[below], gram[i], strict=True)]
            cross[below] = [a - factor * b for a, b in zip(cross[below], cross[i], strict=True)]
    weight = [[0.0] * d for _ in range(k)]
    for i in reversed(range(k)):
        for j in range(d):
            weight[i][j] = (cross[i][j] - sum(gram[i][m] * weight[m][j] for m in range(i + 1, k))) / gram[i][i]
    bias = [wanted[j] - sum(means[i] * weight[i][j] for i in range(k)) for j in range(d)]
    return weight, bias


def patches(picture, patch, stride, padding):
    """Every patch of a picture [channels][height][width] as a flat list, row by row; zeros outside."""
    channels, height, width = picture.shape
    found = []
    for top in range(-padding, height + padding - patch + 1, stride):
        for left in range(-padding, width + padding - patch + 1, stride):
            flat = []
            for channel in range(channels):
                for y in range(top, top + patch):
                    for x in range(left, left + patch):
                        inside = 0 <= y < height and 0 <= x < width
                        flat.append(float(picture[channel, y, x]) if inside else 0.0)
            found.append(flat)
    return torch.tensor(found)


def measures(predictions, feature):
    """(rho, gain, r2) by order of one seed: means over elements of variances over rows, by loops."""

    def variance(rows):
        total = 0.0
        for element in zip(*rows, strict=True):
            mean = sum(element) / len(element)
            total += sum((value - mean) ** 2 for value in element) / len(element)
        return total

    whole = variance(feature)
    rho, gain, r2, before = [], [], [], [[0.0] * len(feature[0]) for _ in feature]
    for found in predictions:
        part = [[a - b for a, b in zip(new, old, strict=True)] for new, old in zip(found, before, strict=True)]
        left = [[a - b for a, b in zip(f, new, strict=True)] for f, new in zip(feature, found, strict=True)]
        r2.append(1 - variance(left) / whole)
        rho.append(variance(part) / whole)
        gain.append(r2[-1] - (r2[-2] if len(r2) > 1 else 0.0))
        before = found
    return rho, gain, r2
