import math
from dataclasses import replace

import pytest
import torch

from asterism.errors import RequestError
from asterism.geometry import affine
from asterism.losses.heatmap import against_points
from asterism.methods.pose2d.hrnet import HRNet
from asterism.methods.pose2d.simple_baseline import SimpleBaseline
from asterism.methods.pose2d.stacked_hourglass import StackedHourglass
from asterism.ops.heatmap import CODECS, Dark, Rounded, SoftArgmax, Udp
from asterism.types import LabelledImages

METHODS = [HRNet, SimpleBaseline, StackedHourglass]


def tiny(method, **changes):
    torch.manual_seed(0)
    return method(replace(method.presets["tiny"], **changes))


def lesson(k=3) -> LabelledImages:
    g = torch.Generator().manual_seed(1)
    image = torch.rand(2, 3, 32, 32, generator=g)
    xy = 10 + torch.rand(2, k, 2, generator=g) * 12
    every = torch.ones(2, k, dtype=torch.bool)
    return LabelledImages(
        image=image, to_source=affine.identity(2, like=image), xy=xy, labelled=every, visible=every
    )


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("codec", CODECS)
def test_every_codec_on_every_backbone(method, codec):
    """Whatever reads the maps: the cost is lowest at the codec's own maps, and these are read rightly."""
    detector, batch = tiny(method, codec=codec, sigma=1.0), lesson()
    assert type(detector.codec) is CODECS[codec]
    terms = detector.loss(batch)
    sum(terms.values()).backward()
    assert all(term.isfinite() and term > 0 for term in terms.values())
    right = detector.codec.encode(batch.xy, (8, 8))
    best = against_points(detector.codec, right, batch.xy, batch.labelled)
    g = torch.Generator().manual_seed(2)
    for _ in range(5):
        other = right + 0.01 * torch.randn(right.shape, generator=g)
        assert against_points(detector.codec, other, batch.xy, batch.labelled) > best
    raw = [right] if method is StackedHourglass else right
    assert detector.maps_of(raw) is right
    found = detector.decode(raw, batch)
    exact = isinstance(detector.codec, Dark | Udp | SoftArgmax)
    within = 0.1 if exact else 4 if isinstance(detector.codec, Rounded) else 3
    assert (found.xy - batch.xy).norm(dim=-1).max() < within


@pytest.mark.parametrize("method", METHODS)
def test_a_codec_that_is_not_there_is_refused(method):
    with pytest.raises(RequestError, match="codec: 'drak' is unknown"):
        tiny(method, codec="drak")


@pytest.mark.parametrize("method", [HRNet, SimpleBaseline])
def test_empty_maps_cost_one_and_right_ones_nothing(method):
    detector, batch = tiny(method, sigma=1.0, balance=0.0), lesson()
    torch.nn.init.zeros_(detector.net.head.weight)
    assert detector.loss(batch)["maps"].item() == pytest.approx(1, abs=0.05)
    right = detector.codec.encode(batch.xy, (8, 8))
    assert against_points(detector.codec, right, batch.xy, batch.labelled, 40.0) == 0


def test_the_cost_of_logits_is_the_entropy_of_the_target_at_best():
    codec, batch = SoftArgmax(1, 2.0), lesson()
    batch = replace(batch, xy=batch.xy + 20)
    best = against_points(codec, codec.encode(batch.xy, (64, 64)), batch.xy, batch.labelled)
    assert best.item() == pytest.approx(1 + math.log(2 * math.pi * 4.0), abs=1e-3)  # of a Gaussian, in nats


@pytest.mark.parametrize("method", [HRNet, SimpleBaseline])
def test_one_batch_can_be_learned_by_heart(method):
    detector, batch = tiny(method, balance=40.0), lesson()
    optimiser = torch.optim.Adam(detector.parameters(), lr=1e-2)
    for _ in range(60):
        optimiser.zero_grad()
        detector.loss(batch)["maps"].backward()
        optimiser.step()
    found = detector.decode(detector(batch), batch)
    assert (found.xy - batch.xy).norm(dim=-1).mean() < 1.0


def test_the_ablations_differ_from_small_in_the_exchanges_only():
    small = HRNet.presets["small"]
    assert replace(HRNet.presets["small-across"], exchanges=None) == small
    assert replace(HRNet.presets["small-once"], exchanges=None) == small
    with torch.device("meta"):
        counts = [
            sum(p.numel() for p in HRNet(HRNet.presets[name]).parameters())
            for name in ("small-once", "small-across", "small")
        ]
    assert counts == sorted(counts) and len(set(counts)) == 3
