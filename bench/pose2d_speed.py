"""What the networks of OpenPose cost on a processor: python bench/pose2d_speed.py.

For each network, one picture of 368 x 368, batch 1, random weights, two threads:
ms         median of a forward pass in float32, in torch's usual layout and channels last, and in bfloat16
rate       arithmetic done per second (2 MACs), as a share of what torch reaches on the same convolutions
           alone, each timed on its own with its own input and summed
bfloat16   largest difference of the last maps from float32's, as a share of their largest value
overlap    a clip of 1 to 8 people through the small PAF network (--run): seconds of reading, network, putting
           together and drawing one after the other, and of all at once, as `predict` does
onnx       --onnx, where onnx and onnxruntime are installed: ms of ONNX Runtime on the exported network, in
           float32 and with weights of 8 bits (its dynamic quantisation), and how far the last maps are off
Everything is measured in one run and in turns: the machine may be busy, ratios are not.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import record
import torch
from torch import nn

from asterism.engine.optim import forward_in_bfloat16, has_bfloat16
from asterism.nets.lightweight_openpose import LightweightOpenPose
from asterism.nets.openpose import TPAMI, TwoBranch

NETS: dict[str, Callable[[], nn.Module]] = {
    "BODY_25": lambda: TPAMI(26, 52),
    "COCO-18": lambda: TwoBranch(19, 38),
    "lightweight": lambda: LightweightOpenPose(19, 38),
}


def seconds(run: Callable[[], Any]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def convolutions(net: nn.Module, image: torch.Tensor) -> tuple[list[tuple[nn.Conv2d, torch.Tensor]], float]:
    """Each convolution with what it is given, and 2 MACs of all."""
    seen: list[tuple[nn.Conv2d, torch.Tensor]] = []
    hooks = [
        m.register_forward_hook(lambda m, x, y: seen.append((m, x[0].detach())))
        for m in net.modules()
        if isinstance(m, nn.Conv2d)
    ]
    net(image)
    for hook in hooks:
        hook.remove()
    work = 0.0
    for conv, x in seen:
        h, w = (n // s for n, s in zip(x.shape[2:], conv.stride))
        work += 2.0 * conv.weight.numel() * h * w
    return seen, work


def last_maps(net: nn.Module, image: torch.Tensor) -> torch.Tensor:
    return net(image)[1][-1].float()


def fresh(make: Callable[[], nn.Module]) -> nn.Module:
    """Random weights that keep the size of what passes through."""
    torch.manual_seed(0)
    net = make().eval()
    for m in net.modules():
        if isinstance(m, nn.Conv2d):
            nn.init.kaiming_normal_(m.weight)
    return net


def one(make: Callable[[], nn.Module], repeats: int) -> dict[str, float]:
    net = fresh(make)
    image = torch.rand(1, 3, 368, 368)
    alone, work = convolutions(net, image)
    times: dict[str, list[float]] = {"plain": [], "alone": []}
    for _ in range(repeats):
        times["plain"].append(seconds(lambda: net(image)))
        times["alone"].append(sum(seconds(lambda c=c, x=x: c(x)) for c, x in alone))
    full = last_maps(net, image)
    net, laid = net.to(memory_format=torch.channels_last), image.to(memory_format=torch.channels_last)
    times["channels last"] = [seconds(lambda: net(laid)) for _ in range(repeats)]
    out: dict[str, float] = {}
    if has_bfloat16(torch.device("cpu")):
        with forward_in_bfloat16(net, "cpu"):
            net(laid)
            times["bfloat16"] = [seconds(lambda: net(laid)) for _ in range(repeats)]
            half = last_maps(net, laid)
        out["bfloat16 off by"] = float((half - full).abs().max() / full.abs().max())
    out |= {f"{name}, ms": 1e3 * float(np.median(values)) for name, values in times.items()}
    out["GMAC"] = work / 2e9
    out["share of the rate of convolutions alone"] = float(
        np.median(np.divide(times["alone"], times["plain"]))
    )
    out["GFLOP/s"] = work / float(np.median(times["plain"])) / 1e9
    return {name: round(value, 4) for name, value in out.items()}


def onnx(make: Callable[[], nn.Module], repeats: int) -> dict[str, float]:
    """ONNX Runtime beside torch, in turns; two threads each."""
    import onnxruntime
    from onnxruntime.quantization import quantize_dynamic

    net, image = fresh(make), torch.rand(1, 3, 368, 368)
    laid = net.to(memory_format=torch.channels_last), image.to(memory_format=torch.channels_last)
    full = last_maps(net, image)
    with tempfile.TemporaryDirectory() as folder:
        plain, small = Path(folder) / "plain.onnx", Path(folder) / "small.onnx"
        torch.onnx.export(Last(net), (image,), str(plain), dynamo=False, input_names=["image"])
        quantize_dynamic(str(plain), str(small))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        sessions = {
            name: onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            for name, path in (("float32", plain), ("8 bits", small))
        }
    given, out = {"image": image.numpy()}, {}
    times: dict[str, list[float]] = {name: [] for name in ("torch", *sessions)}
    for _ in range(repeats):
        times["torch"].append(seconds(lambda: laid[0](laid[1])))
        for name, session in sessions.items():
            times[name].append(seconds(lambda s=session: s.run(None, given)))
    for name, session in sessions.items():
        found = torch.from_numpy(session.run(None, given)[0])
        out[f"{name} off by"] = float((found - full).abs().max() / full.abs().max())
    out |= {f"{name}, ms": 1e3 * float(np.median(values)) for name, values in times.items()}
    return {name: float(f"{value:.4g}") for name, value in out.items()}


class Last(nn.Module):
    """The last maps of a network of stages."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.net(image)[1][-1]


def overlap(run: Path, n: int) -> dict[str, float]:
    """Reading, network and putting together, apart and at once."""
    from asterism.data.crops import cut, frames_of
    from asterism.data.people import whole_frames
    from asterism.data.worlds.figures import Figures
    from asterism.engine.people import people_table
    from asterism.engine.weights import load_weights
    from asterism.geometry import affine
    from asterism.types import Images

    method, skeleton = load_weights(run / "best")
    assert skeleton is not None
    images, size = Figures(n=n, seed=5, people=(1, 8)), (192, 192)
    frames = whole_frames(images)
    method.eval()
    batches: list[Images] = []

    def read() -> None:
        rows = [affine.source_from_crop(frames_of(frames, np.array([i])), size) for i in range(n)]
        parts = [cut(images.picture(i), at, size) for i, at in enumerate(rows)]
        batches.extend(Images.cat(parts[i : i + 16]) for i in range(0, n, 16))

    out = {"reading": seconds(read)}
    with torch.inference_mode():
        began = time.perf_counter()
        raws = [method.forward(batch) for batch in batches]
        out["network"] = time.perf_counter() - began
        out["putting together"] = seconds(lambda: [method.decode(r, b) for r, b in zip(raws, batches)])
    out["sum"] = sum(out.values())
    out["at once"] = seconds(lambda: people_table(method, skeleton, images, size, device="cpu"))
    out["at once over sum"] = out["at once"] / out["sum"]
    return {name: round(value, 3) for name, value in out.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--run", type=Path, default=None)
    parser.add_argument("--onnx", action="store_true", help="only ONNX Runtime, into the figures there are")
    args = parser.parse_args()
    torch.set_num_threads(2)
    if args.onnx:
        path = Path(__file__).with_suffix(".json")
        before = json.loads(path.read_text())
        told = before["figures"]
        with torch.inference_mode():
            told["onnx"] = {name: onnx(make, args.repeats) for name, make in NETS.items()}
        record.write("pose2d_speed", told, seeds=[0])
        return
    figures: dict[str, Any] = {}
    with torch.inference_mode():
        for name, make in NETS.items():
            figures[name] = one(make, args.repeats)
            print(name, figures[name], flush=True)
    if args.run is not None:
        torch.set_num_threads(1)
        figures["overlap"] = overlap(args.run, 64)
    record.write("pose2d_speed", figures, seeds=[0])


if __name__ == "__main__":
    main()
