"""Putting people together from peaks and pairs: which of the many left elbows is whose.

global_greedy  all limbs in one list, best pair first, redundant limbs as good as others: the default.
               Cao, Hidalgo, Simon, Wei, Sheikh, OpenPose, TPAMI 2019, section 3.4
limb_by_limb   one kind of limb after the other, best pair first: Cao et al., CVPR 2017, section 2.4
hungarian      the same with the best matching of each kind of limb instead of the greedy one
global_best    all limbs in one list, but only pairs of the best matching of each kind of limb: ours. Better
               on perfect maps (100 % of 30 people for 98 %, bench/pose2d_assembly.json); on those of a small
               network, with peaks of nobody, the matching was led astray where we looked
nearest        the same with the nearest peaks instead of the field: the control that must lose

All five are functions of the same arguments. None of them can be wrong about a person whose parts' pairs are
the only ones; they differ where limbs cross and where parts are missing.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment

from asterism.ops.assembly_pairs import Limbs, Pairs, Peaks

_PART_SHARE = 0.1  # of its two peaks' scores, added to a pair's own when all limbs are in one list (authors')


@dataclass(frozen=True)
class Assembled:
    """P people, best first: for each part the row of its peak, -1 where it has none.

    `score` is the sum over its parts and pairs divided by their number, as the authors' code gives it.
    """

    member: Int[np.ndarray, "P K"]
    score: Float[np.ndarray, " P"]


Assemble = Callable[[Peaks, Pairs, Limbs], Assembled]


@dataclass(frozen=True)
class Least:
    """Who is kept: at least `parts` parts, and a `score` of at least this (authors': 3 and 0.4)."""

    parts: int = 3
    score: float = 0.4


LEAST = Least()


def global_greedy(peaks: Peaks, pairs: Pairs, limbs: Limbs) -> Assembled:
    """All pairs of all limbs, best first: each begins, extends or joins people, unless it contradicts one."""
    return _best_first(peaks, pairs, limbs)


def global_best(peaks: Peaks, pairs: Pairs, limbs: Limbs) -> Assembled:
    """The same with the pairs, of each limb, that share no peak and whose scores sum to the most.

    Where limbs nearly coincide the best pair of all may be a wrong one, and all others tell.
    """
    kept = np.zeros(len(pairs.limb), bool)
    for l in range(len(limbs.ends)):
        here = np.flatnonzero(pairs.limb == l)
        kept[here[_matched(pairs.first[here], pairs.second[here], pairs.score[here])]] = True
    chosen = Pairs(pairs.limb[kept], pairs.first[kept], pairs.second[kept], pairs.score[kept])
    return _best_first(peaks, chosen, limbs)


def _best_first(peaks: Peaks, pairs: Pairs, limbs: Limbs) -> Assembled:
    score = peaks.score.double().cpu().numpy()
    a, b = np.array(limbs.ends, int).reshape(-1, 2)[pairs.limb].T
    worth = pairs.score + _PART_SHARE * (score[a, pairs.first] + score[b, pairs.second])
    order = np.argsort(-worth, kind="stable")
    people = _People(limbs)
    for row in zip(*(x[order].tolist() for x in (pairs.limb, pairs.first, pairs.second, pairs.score))):
        people.add(*row)
    return people.assembled(score)


def limb_by_limb(peaks: Peaks, pairs: Pairs, limbs: Limbs) -> Assembled:
    """Limbs in their order; of each the best pairs that share no peak. Redundant ones only fill gaps."""

    def chosen(l: int) -> Iterable[tuple[int, int, float]]:
        here = np.flatnonzero(pairs.limb == l)
        here = here[np.argsort(-pairs.score[here], kind="stable")]
        return _apart(zip(*(x[here].tolist() for x in (pairs.first, pairs.second, pairs.score))))

    return _in_order(peaks, limbs, chosen)


def hungarian(peaks: Peaks, pairs: Pairs, limbs: Limbs) -> Assembled:
    """Limbs in their order; of each the pairs, sharing no peak, whose scores sum to the most."""

    def chosen(l: int) -> Iterable[tuple[int, int, float]]:
        here = np.flatnonzero(pairs.limb == l)
        here = here[_matched(pairs.first[here], pairs.second[here], pairs.score[here])]
        return zip(*(x[here].tolist() for x in (pairs.first, pairs.second, pairs.score)))

    return _in_order(peaks, limbs, chosen)


def _matched(
    first: Int[np.ndarray, " n"], second: Int[np.ndarray, " n"], score: Float[np.ndarray, " n"]
) -> Int[np.ndarray, " m"]:
    """Which of the pairs share no peak and have the largest sum of scores together."""
    if not len(first):
        return np.zeros(0, np.int64)
    worth = np.zeros((first.max() + 1, second.max() + 1))
    worth[first, second] = np.maximum(score, 1e-9)
    which = np.zeros(worth.shape, np.int64)
    which[first, second] = np.arange(len(first))
    one, two = linear_sum_assignment(worth, maximize=True)
    real = worth[one, two] > 0
    return which[one[real], two[real]]


def nearest(peaks: Peaks, pairs: Pairs, limbs: Limbs) -> Assembled:
    """Limbs in their order; of each the nearest peaks, whatever the field says."""
    uv, valid = peaks.uv.double().cpu().numpy(), peaks.valid.cpu().numpy()

    def chosen(l: int) -> Iterable[tuple[int, int, float]]:
        a, b = limbs.ends[l]
        first, second = np.nonzero(valid[a][:, None] & valid[b])
        far = np.linalg.norm(uv[a, first] - uv[b, second], axis=-1)
        order = np.argsort(far, kind="stable")
        return _apart(zip(first[order].tolist(), second[order].tolist(), [1.0] * len(order)))

    return _in_order(peaks, limbs, chosen)


def kept(found: Assembled, least: Least = LEAST) -> Assembled:
    """Only people with enough parts and score."""
    enough = ((found.member >= 0).sum(1) >= least.parts) & (found.score >= least.score)
    return Assembled(found.member[enough], found.score[enough])


# ------------------------------------------------------------------------------------------------- gathering


@dataclass
class _Person:
    member: dict[int, int]  # part -> row of its peak
    pairs: int = 0
    score: float = 0.0  # of its pairs


@dataclass
class _People:
    """People under way, and whose each peak is."""

    limbs: Limbs
    people: dict[int, _Person] = field(default_factory=dict)
    owner: dict[tuple[int, int], int] = field(default_factory=dict)  # (part, row) -> person
    begun: int = 0

    def add(self, limb: int, first: int, second: int, score: float, only_fills: bool = False) -> None:
        """One pair: five cases, by whose its two peaks are already."""
        a, b = self.limbs.ends[limb]
        one, two = self.owner.get((a, first)), self.owner.get((b, second))
        if one is None and two is None:
            if only_fills:
                return
            one = self.begun = self.begun + 1
            person = self.people[one] = _Person({a: first, b: second})
            self.owner[a, first] = self.owner[b, second] = one
        elif one is not None and two is not None:
            if one != two:
                if only_fills or not self.people[one].member.keys().isdisjoint(self.people[two].member):
                    return
                self._merge(one, two)
            person = self.people[one]  # a circle closes: nobody grows, the person is surer
        else:
            known, part, row = (one, b, second) if two is None else (two, a, first)
            assert known is not None
            person = self.people[known]
            if part in person.member:
                return
            person.member[part] = row
            self.owner[part, row] = known
        person.pairs += 1
        person.score += score

    def _merge(self, one: int, two: int) -> None:
        gone = self.people.pop(two)
        person = self.people[one]
        person.member |= gone.member
        person.pairs += gone.pairs
        person.score += gone.score
        for key in gone.member.items():
            self.owner[key] = one

    def assembled(self, peak_score: Float[np.ndarray, "K M"]) -> Assembled:
        member = np.full((len(self.people), len(peak_score)), -1, np.int64)
        total = np.zeros(len(self.people))
        for p, person in enumerate(self.people.values()):
            parts, rows = list(person.member), list(person.member.values())
            member[p, parts] = rows
            total[p] = (peak_score[parts, rows].sum() + person.score) / (len(parts) + person.pairs)
        order = np.argsort(-total, kind="stable")
        return Assembled(member[order], total[order])


def _in_order(
    peaks: Peaks, limbs: Limbs, chosen: Callable[[int], Iterable[tuple[int, int, float]]]
) -> Assembled:
    """People from the pairs chosen for each limb, limbs in their order, redundant ones last."""
    people = _People(limbs)
    for l in sorted(range(len(limbs.ends)), key=lambda l: l in limbs.redundant):
        for first, second, score in chosen(l):
            people.add(l, first, second, score, l in limbs.redundant)
    return people.assembled(peaks.score.double().cpu().numpy())


def _apart(pairs: Iterable[tuple[int, int, float]]) -> Iterable[tuple[int, int, float]]:
    """Those that share no peak with an earlier one."""
    first, second = set(), set()
    for pair in pairs:
        if pair[0] not in first and pair[1] not in second:
            first.add(pair[0])
            second.add(pair[1])
            yield pair
