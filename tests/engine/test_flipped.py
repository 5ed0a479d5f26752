from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch

from asterism.engine.evaluate import evaluate_run
from asterism.engine.flipped import flipped
from asterism.engine.predict_files import predict_to
from asterism.engine.train import train_on
from asterism.errors import RequestError
from asterism.geometry import affine
from asterism.methods.base import Method
from asterism.methods.pose2d.hrnet import HRNet
from asterism.ops.heatmap import Dark
from asterism.types import Images, Keypoints2D, Skeleton

HANDS = Skeleton(names=("left", "right", "top"), swap=(1, 0, 2))


@dataclass(frozen=True)
class SightConfig:
    n_keypoints: int = 3
    input_size: tuple[int, int] = (32, 48)


class Sight(Method[Images, torch.Tensor, Keypoints2D]):
    """Finds the left red pixel, the right one, and the blue one; its maps are perfect but for `drift`."""

    name, family, paper, link = "sight", "pose2d", "none", "none"
    Config = SightConfig
    presets: ClassVar = dict.fromkeys(("paper", "small", "tiny"), SightConfig())
    takes, gives = Images, Keypoints2D
    drift = 0.0

    def __init__(self, config):
        super().__init__(config)
        self.codec = Dark(4, 2.0)
        self.seen = 0

    def forward(self, batch):
        self.seen += 1
        rows = []
        for picture in batch.image:
            red, blue = picture[0].nonzero(), picture[2].nonzero()  # y, x
            left, right = red[red[:, 1].argsort()]
            rows.append(torch.stack([left, right, blue[0]]).flip(-1))
        xy = torch.stack(rows).float() + torch.tensor([self.drift, 0.0])
        return self.codec.encode(xy, (8, 12))

    def maps_of(self, raw):
        return raw

    def decode(self, raw, batch):
        return self.codec.decode(raw, batch.to_source)


def picture():
    image = torch.zeros(1, 3, 32, 48)
    image[0, 0, 20, 9] = image[0, 0, 14, 34] = image[0, 2, 10, 25] = 1
    return Images(image=image, to_source=affine.identity(1, like=image))


TRUTH = torch.tensor([[[9.0, 20.0], [34.0, 14.0], [25.0, 10.0]]])


def test_a_perfect_detector_is_not_moved():
    sight = Sight(SightConfig())
    found = flipped(sight, HANDS).predict(picture())
    assert sight.seen == 2
    torch.testing.assert_close(found.xy, TRUTH, atol=0.02, rtol=0)
    assert found.score.min() > 0.8


def test_what_always_errs_to_one_side_is_averaged_away():
    sight = Sight(SightConfig())
    sight.drift = 2.0
    assert (sight.predict(picture()).xy - TRUTH)[..., 0].min() > 1.9
    assert (flipped(sight, HANDS).predict(picture()).xy - TRUTH).abs().max() < 0.1


def test_the_answer_is_in_the_source_and_the_change_is_mirrored_too():
    batch, sight = picture(), Sight(SightConfig())
    move = affine.similarity(torch.tensor([0.4]), torch.tensor([2.0]), torch.tensor([[5.0, -3.0]]))
    found = flipped(sight, HANDS).predict(replace(batch, to_source=move, change=batch.image[:, :1]))
    torch.testing.assert_close(found.xy, affine.apply(move, TRUTH), atol=0.05, rtol=0)


def test_a_real_network_is_symmetric_under_the_flip_test():
    torch.manual_seed(0)
    method = flipped(HRNet(replace(HRNet.presets["tiny"], n_keypoints=3)), HANDS).eval()
    image = torch.rand(2, 3, 32, 32)
    batch = Images(image=image, to_source=affine.identity(2, like=image))
    plain, other = method(batch), method(replace(batch, image=image.flip(-1)))
    torch.testing.assert_close(other.flip(-1)[:, [1, 0, 2]], plain)


def test_what_has_no_maps_or_no_swap_is_refused(dot):
    with pytest.raises(RequestError, match="--flip: dot has no heatmaps to average"):
        flipped(dot, HANDS)
    with pytest.raises(RequestError, match="does not say which points a mirror exchanges"):
        flipped(Sight(SightConfig()), Skeleton(names=("a", "b", "c")))
    with pytest.raises(RequestError, match="does not say"):
        flipped(Sight(SightConfig()), None)


def test_predict_and_evaluate_with_the_flip_test(labelled, tmp_path):
    with_sides = Path(labelled).with_name("sides.json")
    text = Path(labelled).read_text(encoding="utf-8")
    with_sides.write_text(text.replace('"bright"', '"left_dot"').replace('"dim"', '"right_dot"'), "utf-8")
    run, plain = tmp_path / "run", tmp_path / "plain"
    train_on(str(with_sides), "hrnet", run, preset="tiny", steps=1, device="cpu")
    once, twice = (evaluate_run(run, device="cpu", flip=flip) for flip in (False, True))
    assert once["method"] == twice["method"] == "hrnet"
    assert once["mean_px"] != twice["mean_px"]
    told = predict_to(run, [str(with_sides)], tmp_path / "points.csv", device="cpu", flip=True)
    assert told["rows"] == told["pictures"] == 20
    train_on(labelled, "hrnet", plain, preset="tiny", steps=1, device="cpu")
    with pytest.raises(RequestError, match="left and right"):
        predict_to(plain, [labelled], tmp_path / "other.csv", device="cpu", flip=True)
    assert not (tmp_path / "other.csv").exists()
