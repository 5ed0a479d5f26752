import torch

from asterism.ops.colour import standardised


def test_the_mean_becomes_zero_and_a_deviation_one():
    mean = torch.tensor([0.485, 0.456, 0.406])[None, :, None, None].expand(1, 3, 2, 2)
    torch.testing.assert_close(standardised(mean), torch.zeros(1, 3, 2, 2))
    more = mean + torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    torch.testing.assert_close(standardised(more), torch.ones(1, 3, 2, 2))
