"""Which things are each other's partner: permutations that are their own inverse."""

import numpy as np
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment


def best_involution(score: Float[np.ndarray, "K K"]) -> tuple[int, ...]:
    """partner[k], with partner[partner[k]] == k, for which the scores score[k, partner[k]] sum to the most.

    The best permutation (Hungarian method) of the symmetrised score consists of cycles. One longer than two
    is cut into pairs of neighbours, and one left single when its length is odd, in the best of the ways to
    do that: at least as good as any cut that keeps to the cycle, though not over all involutions.
    """
    both = score + score.T
    _, target = linear_sum_assignment(both, maximize=True)
    partner = list(range(len(score)))
    for cycle in _cycles(target.tolist()):
        for a, b in _cut(cycle, both):
            partner[a], partner[b] = b, a
    return tuple(partner)


def _cycles(target: list[int]) -> list[list[int]]:
    seen: set[int] = set()
    cycles = []
    for start in range(len(target)):
        cycle, k = [], start
        while k not in seen:
            seen.add(k)
            cycle.append(k)
            k = target[k]
        if cycle:
            cycles.append(cycle)
    return cycles


def _cut(cycle: list[int], both: Float[np.ndarray, "K K"]) -> list[tuple[int, int]]:
    """Neighbours along a cycle in pairs, starting where the scores sum to the most; (a, a) stays single."""
    n = len(cycle)
    best, most = [(k, k) for k in cycle], -np.inf
    for start in range(n if n % 2 else min(n, 2)):
        turned = cycle[start:] + cycle[:start]
        pairs = list(zip(turned[n % 2 :: 2], turned[n % 2 + 1 :: 2]))
        pairs += [(turned[0], turned[0])] if n % 2 else []
        total = sum(both[a, b] if a == b else 2 * both[a, b] for a, b in pairs)
        if total > most:
            best, most = pairs, total
    return best
