"""The deformer's own rules: sizes, cages, locality, warm-up, and a shape moved by its keypoints."""

import numpy as np
import torch

from asterism.data.cloud_sets import CloudSamples, open_clouds
from asterism.methods.clouds.keypoint_deformer import KeypointDeformer, KeypointDeformerConfig
from asterism.types import Clouds


def tiny():
    torch.manual_seed(0)
    return KeypointDeformer(KeypointDeformer.presets["tiny"])


def chairs(b=3, n=64):
    samples = CloudSamples(open_clouds("world:chairs?n=9"), range(9), n)
    return Clouds.cat([samples[0, i] for i in range(b)])


def test_the_papers_network_has_the_authors_layers():
    with torch.device("meta"):
        method = KeypointDeformer(KeypointDeformerConfig(n_keypoints=12))
    count = {name: sum(p.numel() for p in part.parameters()) for name, part in method.named_children()}
    trunk = 4 * 64 + 65 * 128
    assert count["trunk"] == trunk + 129 * 256
    assert count["decoder"] == 257 * 256 + 257 * 512 + 513 * 256 + 257 * 36
    assert count["own_trunk"] == trunk + 129 * 504
    assert count["own_decoder"] == 3 * 505 * 504
    assert method.common.shape == (12, 42)


def test_nothing_moves_where_no_keypoint_moves_and_detail_is_carried():
    method, batch = tiny(), chairs()
    with torch.no_grad():
        xyz = method(batch)
        where = method.deform(batch, xyz, xyz, batch.points)
        torch.testing.assert_close(where, batch.points)
        method.common.fill_(1.0)
        for parameter in method.own_decoder[-1].parameters():
            parameter.zero_()
        far = torch.zeros_like(xyz)
        far[:, 0] = torch.tensor([0.01, 0.0, 0.0])
        once = method.deform(batch, xyz, xyz + far, batch.points) - batch.points
        twice = method.deform(batch, xyz, xyz + 2 * far, batch.points) - batch.points
    assert once[..., 0].abs().max() > 0.01
    torch.testing.assert_close(twice, 2 * once, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(once[..., 1:], torch.zeros_like(once[..., 1:]), atol=1e-6, rtol=0)


def test_a_keypoint_moves_the_nearest_cage_vertices_alone():
    method, batch = tiny(), chairs()
    with torch.no_grad():
        method.common.fill_(1.0)
        xyz, cage = method(batch), method.cage_of(batch)
        influence, _ = method.influence_of(batch, xyz, cage)
    kept = influence != 0
    assert (kept.sum(-1) == max(5, 42 // 4)).all()
    gap = torch.cdist(xyz, cage)
    assert (gap.masked_fill(~kept, 0).amax(-1) <= gap.masked_fill(kept, 9).amin(-1)).all()


def test_padding_of_any_number_changes_nothing():
    method, batch = tiny(), chairs()
    padded = Clouds(
        points=torch.cat([torch.full((3, 5, 3), torch.nan), batch.points], dim=1),
        valid=torch.arange(69).expand(3, 69) >= 5,
        to_source=batch.to_source,
    )
    torch.testing.assert_close(method.predict(padded).xyz, method.predict(batch).xyz)
    torch.testing.assert_close(method.cage_of(padded), method.cage_of(batch))
    terms = method.loss(padded)
    torch.testing.assert_close(terms["chamfer"], method.loss(batch)["chamfer"])
    torch.stack(list(terms.values())).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in method.parameters())


def test_to_begin_with_the_keypoint_network_learns_alone():
    torch.manual_seed(0)
    method = KeypointDeformer(KeypointDeformerConfig(n_keypoints=4, widths=(16, 32), warmup_steps=1))
    batch, seen = chairs(), []

    def update(loss, group="main"):
        method.zero_grad(set_to_none=True)
        loss.backward()
        seen.append(method.common.grad is not None)

    assert float(method.step(batch, update)["chamfer"]) == 0
    assert float(method.step(batch, update)["chamfer"]) > 0
    assert seen == [False, True]


def test_keypoints_leave_in_the_files_unit():
    method, batch = tiny(), chairs(1)
    inside, found = method(batch).detach()[0], method.predict(batch).xyz[0]
    matrix = batch.to_source[0]
    np.testing.assert_allclose(found, inside @ matrix[:3, :3].T + matrix[:3, 3], atol=1e-6)
