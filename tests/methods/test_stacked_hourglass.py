from dataclasses import replace

import pytest
import torch

from asterism.geometry import affine
from asterism.losses.heatmap import squared
from asterism.methods.pose2d.stacked_hourglass import StackedHourglass, StackedHourglassConfig
from asterism.types import Images, LabelledImages


def tiny(**changes) -> StackedHourglass:
    torch.manual_seed(0)
    return StackedHourglass(replace(StackedHourglass.presets["tiny"], **changes))


def lesson(size=(32, 32), k=3) -> LabelledImages:
    g = torch.Generator().manual_seed(1)
    image = torch.rand(2, 3, *size, generator=g)
    xy = 4 + torch.rand(2, k, 2, generator=g) * 20
    every = torch.ones(2, k, dtype=torch.bool)
    to_source = affine.identity(2, like=image)
    return LabelledImages(image=image, to_source=to_source, xy=xy, labelled=every, visible=every)


@pytest.mark.parametrize(
    "n_stacks, count", [(1, 3_426_448), (2, 6_570_400), (4, 12_858_304), (8, 25_434_112)]
)
def test_parameters_are_those_of_the_paper(n_stacks, count):
    with torch.device("meta"):
        method = StackedHourglass(replace(StackedHourglassConfig(), n_stacks=n_stacks))
    assert sum(p.numel() for p in method.parameters()) == count


def test_every_stack_is_supervised():
    method, batch = tiny(n_stacks=3), lesson()
    terms = method.loss(batch)
    assert list(terms) == ["stack 1", "stack 2", "stack 3"]
    terms["stack 1"].backward()
    assert method.net.heads[0].weight.grad is not None
    assert method.net.heads[2].weight.grad is None


def test_maps_of_zeros_cost_one_per_stack():
    method, batch = tiny(balance=0.0, sigma=1.5), lesson()
    for head in method.net.heads:
        torch.nn.init.zeros_(head.weight)
        torch.nn.init.zeros_(head.bias)
    for term in method.loss(batch).values():
        assert term.item() == pytest.approx(1, abs=0.15)  # the border cuts some of the energy


def test_decode_reads_the_last_stack():
    method, batch = tiny(), lesson()
    right = method.codec.encode(batch.xy, (8, 8))
    found = method.decode([torch.zeros_like(right), right], batch)
    torch.testing.assert_close(found.xy, batch.xy, atol=0.02, rtol=0)
    assert found.score.min() > 0.5 and found.score.max() <= 1
    assert squared(right, right, batch.labelled) == 0


def test_a_picture_of_another_shape_is_taken_and_a_wrong_one_refused():
    method = tiny()
    image = torch.rand(1, 3, 48, 32)
    found = method.predict(Images(image=image, to_source=affine.identity(1, like=image)))
    assert found.maps is not None and found.maps.shape[-2:] == (12, 8)
    with pytest.raises(ValueError, match="multiples of 16"):
        method.predict(Images(image=image[..., :30], to_source=affine.identity(1, like=image)))


def test_one_batch_can_be_learned_by_heart():
    method, batch = tiny(n_stacks=1, balance=StackedHourglass.presets["small"].balance), lesson()
    optimiser = torch.optim.Adam(method.parameters(), lr=5e-3)
    for _ in range(80):
        optimiser.zero_grad()
        torch.stack(list(method.loss(batch).values())).sum().backward()
        optimiser.step()
    found = method.decode(method(batch), batch)
    assert (found.xy - batch.xy).norm(dim=-1).mean() < 1.0
    assert found.score.min() > 0.5
