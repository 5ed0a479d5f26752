"""Cages and mean-value coordinates: counts, closed forms, linear precision, vertices, faces, gradients."""

import pytest
import torch

from asterism.ops.cage import icosphere, pulled_in
from asterism.ops.mean_value import mean_value_coordinates


def cage(dtype=torch.float64):
    vertices, faces = icosphere(1)
    return 1.4 * vertices[None].to(dtype), faces


@pytest.mark.parametrize(("s", "v", "f"), [(0, 12, 20), (1, 42, 80), (2, 162, 320)])
def test_an_icosphere_is_closed_round_and_turned_outwards(s, v, f):
    vertices, faces = icosphere(s)
    assert vertices.shape == (v, 3) and faces.shape == (f, 3)
    torch.testing.assert_close(vertices.norm(dim=1), torch.ones(v))
    edges = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    assert len(edges.unique(dim=0)) == len(edges)  # each direction once:
    assert {tuple(e) for e in edges.tolist()} == {tuple(e)[::-1] for e in edges.tolist()}  # its twin is there
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    assert ((b - a).cross(c - a, dim=-1) * (a + b + c)).sum(-1).min() > 0


def test_the_cage_stops_before_the_shape():
    vertices, _ = cage(torch.float32)
    points = torch.zeros(2, 1, 3)
    points[1, 0, 0] = 0.9
    found = pulled_in(vertices[0], points, 0.4, 500, 0.01)
    assert ((found[0].norm(dim=-1) <= 0.4) & (found[0].norm(dim=-1) > 0.395)).all()
    gap = (found[1] - points[1]).norm(dim=-1)
    assert ((gap <= 0.4) | (found[1].norm(dim=-1) < 0.02)).all()
    assert torch.equal(pulled_in(vertices[0], points, 0.4, 0, 0.01)[0], vertices[0])


def test_the_middle_of_a_regular_cage_sees_all_vertices_alike():
    vertices, faces = icosphere(0)
    weights = mean_value_coordinates(
        torch.zeros(1, 1, 3, dtype=torch.float64), vertices[None].double(), faces
    )
    torch.testing.assert_close(
        weights[0, 0], torch.full((12,), 1 / 12, dtype=torch.float64), atol=1e-7, rtol=0
    )


@pytest.mark.parametrize(("dtype", "exact"), [(torch.float64, 1e-9), (torch.float32, 0.02)])
def test_weights_sum_to_one_and_keep_linear_functions(dtype, exact):
    vertices, faces = cage(dtype)
    g = torch.Generator().manual_seed(0)
    points = 3 * torch.rand(1, 400, 3, generator=g, dtype=dtype) - 1.5  # inside and outside
    weights = mean_value_coordinates(points, vertices, faces)
    torch.testing.assert_close(weights.sum(-1), torch.ones(1, 400, dtype=dtype))
    assert (weights @ vertices - points).abs().max() < exact
    inside = points.norm(dim=-1) < 1.2
    assert weights[inside].min() > -1e-6


def test_points_at_vertices_on_edges_and_on_faces():
    vertices, faces = cage()
    a, b, c = (vertices[0, faces[7, i]] for i in range(3))
    points = torch.stack([a, (a + b) / 2, 0.2 * a + 0.3 * b + 0.5 * c])[None]
    weights = mean_value_coordinates(points, vertices, faces)[0]
    wanted = torch.zeros(3, 42, dtype=torch.float64)
    for row, values in enumerate([(1, 0, 0), (0.5, 0.5, 0), (0.2, 0.3, 0.5)]):
        wanted[row, faces[7]] = torch.tensor(values, dtype=torch.float64)
    torch.testing.assert_close(weights, wanted, atol=1e-6, rtol=0)


def test_a_batch_of_cages_is_many_cages():
    vertices, faces = cage()
    points = torch.tensor([[[0.1, 0.2, 0.3]], [[-0.4, 0.1, 0.0]]], dtype=torch.float64)
    both = torch.cat([vertices, vertices * 1.3])
    together = mean_value_coordinates(points, both, faces)
    for i in range(2):
        torch.testing.assert_close(
            together[i : i + 1], mean_value_coordinates(points[i : i + 1], both[i : i + 1], faces)
        )


def test_gradients_inside_are_right():
    vertices, faces = icosphere(0)
    vertices = vertices[None].double().requires_grad_()
    points = torch.tensor([[[0.1, -0.2, 0.3], [0.05, 0.4, 0.11]]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda p, v: mean_value_coordinates(p, v, faces), (points, vertices))
