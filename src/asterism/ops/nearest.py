"""Mutual nearest neighbours of two sets of descriptors, at little more than the cost of their product.

The product is cheap; everybody pays for its argmax. Here the product is made in blocks of rows that stay in
the cache, and of each block only the greatest value of rows and columns is kept, without indices. A mutual
pair is then a value that is the greatest of its row and of its column: the two lists of values are joined by
sorting. Values that occur more than once (ties) are settled by looking at their rows again.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

_ROWS = 128  # of a block: its product with a few thousand columns fits the cache
_PARTS = 16  # of the columns, for the ratio test: only the best one's part is multiplied again


def mutual_nearest(
    a: Float[Tensor, "N D"], b: Float[Tensor, "M D"], ratio: float | int = 1.0
) -> tuple[Int[Tensor, "P 2"], Float[Tensor, " P"]]:
    """Pairs (row of a, row of b) that are each other's most similar, by dot product, and their similarity.

    Rows must have unit length where `ratio` is below 1: a pair is then dropped when its distance is more than
    `ratio` times that to the next best of b. Among equals the first counts. Pairs are sorted by the row of a.
    """
    if len(a) == 0 or len(b) == 0:
        return torch.zeros(0, 2, dtype=torch.long, device=a.device), a.new_zeros(0)
    by_part, by_column = _greatest(a, b, _PARTS if ratio < 1 else 1)
    by_row = by_part.amax(1)
    i, j, unsure = _joined(by_row, by_column)
    value = (a[i] * b[j]).sum(1)
    room = 1e-4 * by_row[i].abs().clamp(min=1e-6)
    wrong = (value - by_row[i]).abs() > room
    unsure = torch.unique(torch.cat([unsure, i[wrong]]))
    pairs = torch.stack([i, j], dim=1)[~wrong]
    pairs = torch.cat([pairs, _settled(a, b, unsure)])
    pairs = pairs[pairs[:, 0].argsort()]
    similarity = (a[pairs[:, 0]] * b[pairs[:, 1]]).sum(1)
    if ratio < 1 and len(b) > 1 and len(pairs):
        kept = _distinct(a, b, by_part, pairs, similarity, float(ratio))
        pairs, similarity = pairs[kept], similarity[kept]
    return pairs, similarity


def _greatest(a: Tensor, b: Tensor, parts: int) -> tuple[Tensor, Tensor]:
    """The greatest values of a b^T: N P, of each row in parts of the columns (_edges), and M, of the
    columns.
    """
    edges = _edges(len(b), parts)
    width = edges[1]
    by_part, by_column = a.new_empty(len(a), len(edges) - 1), a.new_full((len(b),), -torch.inf)
    buffer, bt = a.new_empty(min(_ROWS, len(a)), len(b)), b.T
    even = len(b) // width
    for start in range(0, len(a), _ROWS):
        rows = a[start : start + _ROWS]
        product = torch.mm(rows, bt, out=buffer[: len(rows)])
        place = by_part[start : start + len(rows)]
        place[:, :even] = product[:, : even * width].unflatten(1, (even, width)).amax(2)
        if even * width < len(b):
            place[:, even] = product[:, even * width :].amax(1)
        torch.maximum(by_column, product.amax(0), out=by_column)
    return by_part, by_column


def _edges(n: int, parts: int) -> list[int]:
    """Where parts of n columns begin, and n: all of one width but the last, which may be narrower."""
    width = -(-n // parts)
    return [*range(0, n, width), n]


def _joined(by_row: Tensor, by_column: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(rows, columns) of values that occur once in both lists; and rows whose value occurs in both, but
    oftener.
    """
    value, row = by_row.sort()
    other, column = by_column.sort()
    first = torch.searchsorted(other, value)
    last = torch.searchsorted(other, value, right=True)
    alone = torch.ones_like(value, dtype=torch.bool)
    same = value[1:] == value[:-1]
    alone[1:] &= ~same
    alone[:-1] &= ~same
    once = (last - first == 1) & alone
    often = (last > first) & ~once
    return row[once], column[first[once]], row[often]


def _settled(a: Tensor, b: Tensor, rows: Tensor) -> Tensor:
    """The mutual pairs of some rows, by argmax both ways."""
    found = [torch.zeros(0, 2, dtype=torch.long, device=a.device)]
    for part in rows.split(_ROWS):
        j = (a[part] @ b.T).argmax(1)
        back = (a @ b[j].T).argmax(0)
        keep = back == part
        found.append(torch.stack([part[keep], j[keep]], dim=1))
    return torch.cat(found)


def _distinct(
    a: Tensor, b: Tensor, by_part: Tensor, pairs: Tensor, similarity: Tensor, ratio: float
) -> Tensor:
    """Which pairs are nearer than `ratio` times the next best of b.

    The next best is the greatest of the other parts, or the second in the part of the best, looked at again.
    """
    edges = _edges(len(b), _PARTS)
    part = pairs[:, 1] // edges[1]
    others = by_part[pairs[:, 0]].scatter(1, part[:, None], -torch.inf)
    second = others.amax(1)
    for p in range(len(edges) - 1):
        here = (part == p).nonzero()[:, 0]
        product = a[pairs[here, 0]] @ b[edges[p] : edges[p + 1]].T
        product.scatter_(1, pairs[here, 1:] - edges[p], -torch.inf)
        second[here] = torch.maximum(second[here], product.amax(1))
    near, far = (2 - 2 * similarity).clamp(min=0), (2 - 2 * second).clamp(min=0)
    return near <= ratio**2 * far
