"""Reading images between their pixels: cut out, sample at points, warp.

Bilinear, values at pixel centres. A crop that shrinks is first averaged over boxes of whole pixels (the level
of a mip pyramid nearest to the crop's scale), so that detail finer than a crop pixel averages out instead of
aliasing; one that does not shrink is plain bilinear and, at the identity, gives the image back.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from asterism.geometry import affine
from asterism.geometry.coords import pixel_grid, xyn_from_xy
from asterism.geometry.warp import Warp


def crop(
    image: Float[Tensor, "B C H W"], source_from_crop: Float[Tensor, "B 2 3"], size: tuple[int, int]
) -> Float[Tensor, "B C h w"]:
    """The part of each image that `source_from_crop` looks at, at `size` (h, w); zero outside the image."""
    scales = affine.scale_of(source_from_crop.detach())
    factors = scales.nan_to_num(nan=1.0, posinf=1.0).round().clamp(min=1).int().tolist()
    if len(set(factors)) == 1:
        return _crop_shrunk(image, source_from_crop, size, factors[0])
    out = image.new_zeros(len(image), image.shape[1], *size)
    for factor in sorted(set(factors)):
        rows = torch.tensor([i for i, f in enumerate(factors) if f == factor], device=image.device)
        part = _crop_shrunk(image[rows], source_from_crop[rows], size, factor)
        out = out.index_copy(0, rows, part)
    return out


def sample(image: Float[Tensor, "B C H W"], xy: Float[Tensor, "B K 2"]) -> Float[Tensor, "B K C"]:
    """Values of the image at points in its pixels; zero outside."""
    grid = xyn_from_xy(xy, (image.shape[2], image.shape[3]))[:, None]  # B 1 K 2
    return _bilinear(image, grid, "zeros")[:, :, 0].mT


def stretched(maps: Float[Tensor, "B C H W"], size: tuple[int, int]) -> Float[Tensor, "B C h w"]:
    """Resized to (h, w) with the centres of the corner pixels on those of the corner pixels.

    Some published networks resize their maps so, and want it. It scales by (h - 1) / (H - 1), so it is for
    maps that come back to their size, not for coordinates.
    """
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=True)


def warp_image(image: Float[Tensor, "B C H W"], warp: Warp) -> Float[Tensor, "B C H W"]:
    """The warped image at x is the image at warp.inverse_points(x).

    Outside, the border is repeated: a black margin would tell a network how it was warped. What is real is
    said by valid_pixels.
    """
    b, _, h, w = image.shape
    xyn = xyn_from_xy(_inverse_grid(warp, (h, w), image, b), (h, w))
    return _bilinear(image, xyn.unflatten(1, (h, w)), "border")


def valid_pixels(warp: Warp, size: tuple[int, int], *, like: Tensor) -> Bool[Tensor, "B H W"]:
    """Pixels of the warped image that show the inside of a source image of `size` (h, w).

    `like` gives the batch (its first axis), the device and the dtype.
    """
    xyn = xyn_from_xy(_inverse_grid(warp, size, like, len(like)), size)
    return (xyn.abs() <= 1).all(-1).unflatten(1, size)


def _inverse_grid(warp: Warp, size: tuple[int, int], like: Tensor, b: int) -> Float[Tensor, "B HW 2"]:
    grid = pixel_grid(size, like=like).flatten(0, 1)
    return warp.inverse_points(grid.expand(b, *grid.shape))


def _crop_shrunk(
    image: Float[Tensor, "B C H W"],
    source_from_crop: Float[Tensor, "B 2 3"],
    size: tuple[int, int],
    factor: int,
) -> Float[Tensor, "B C h w"]:
    """A crop from the image averaged over boxes of factor x factor pixels."""
    region, origin = _region(image, source_from_crop, size, factor)
    if factor > 1:
        region = F.avg_pool2d(region, factor)
    # Normalised coordinates run from edge to edge, so the pooled region has those of the unpooled one.
    extent = (region.shape[2] * factor, region.shape[3] * factor)
    zero = xyn_from_xy(source_from_crop[..., 2] - origin, extent)  # B 2: the crop's pixel (0, 0)
    # xyn of one step along x and along y, as a product: a difference of two xyn would lose digits.
    step_x, step_y = (source_from_crop[..., :2] * (2 / zero.new_tensor(extent[::-1]))[:, None]).unbind(-1)
    h, w = size
    along_x = torch.arange(w, device=image.device, dtype=zero.dtype)[:, None] * step_x[:, None]  # B w 2
    along_y = torch.arange(h, device=image.device, dtype=zero.dtype)[:, None] * step_y[:, None]  # B h 2
    grid = along_x[:, None] + (along_y + zero[:, None])[:, :, None]  # B h w 2
    return _bilinear(region, grid, "zeros")


def _region(
    image: Float[Tensor, "B C H W"],
    source_from_crop: Float[Tensor, "B 2 3"],
    size: tuple[int, int],
    factor: int,
) -> tuple[Float[Tensor, "B C h1 w1"], Float[Tensor, "2"]]:
    """The pixels a batch of crops can touch, as whole boxes of `factor`, and the xy of their first pixel.

    Pooling a 4K frame for a small crop would cost more than the crop.
    """
    h, w = size
    corners = source_from_crop.new_tensor([[0, 0], [w - 1, 0], [0, h - 1], [w - 1, h - 1]])
    seen = affine.apply(source_from_crop.detach(), corners.expand(len(image), 4, 2)).flatten(0, 1)
    seen = seen.nan_to_num(nan=0.0)
    low, high = seen.amin(0).floor() - factor, seen.amax(0).ceil() + factor + 1
    spans = []
    for axis, length in ((1, image.shape[2]), (0, image.shape[3])):
        start = int(low[axis].clamp(0, length - 1)) // factor * factor
        boxes = -(-(int(high[axis].clamp(start + 1, length)) - start) // factor)
        spans.append((start, min(start + boxes * factor, length)))
    (y0, y1), (x0, x1) = spans
    region = image[:, :, y0:y1, x0:x1]
    if (y1 - y0) % factor or (x1 - x0) % factor:
        region = F.pad(region, (0, -(x1 - x0) % factor, 0, -(y1 - y0) % factor))
    return region, source_from_crop.new_tensor([x0, y0])


def _bilinear(
    image: Float[Tensor, "B C H W"], xyn: Float[Tensor, "B h w 2"], outside: str
) -> Float[Tensor, "B C h w"]:
    return F.grid_sample(image, xyn, mode="bilinear", padding_mode=outside, align_corners=False)
