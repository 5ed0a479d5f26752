"""keynet: keypoints where handcrafted gradients, mixed by few learned filters, stay put under warps.

Derivatives of the picture and their products, at three sizes, go through three small convolutions that all
sizes share, and one more gives a response. It learns from a picture and a warped copy: in every window of
either the soft place of the response must be where the other's, warped back, is highest. Windows of several
sizes make it choose what stays put in all of them. At use the picture is looked at in levels of a pyramid.

Axel Barroso-Laguna, Edgar Riba, Daniel Ponsa, Krystian Mikolajczyk, Key.Net: Keypoint Detection by
Handcrafted and Learned CNN Filters, ICCV 2019, https://arxiv.org/abs/1904.00889.

    handcrafted filters, first and second order   -> handcrafted
    learned filters and the scale-space inside     -> _Response
    index proposal layer                           -> proposed
    multi-scale index proposal (M-SIP)             -> loss, _window_cost
    extraction from a pyramid, suppression         -> forward, decode

Departs from the paper:
- what the text leaves open is as in the authors' TensorFlow code: the local normalisation, the 15 pixels of
  suppression and border, the level that is larger than the picture, points by level. With the released
  weights these are the authors' 1,496 points of their test picture, every one.
- points lie at centres of pixels: the authors multiply the index of a pixel of a level by its scale, which
  is off by half a pixel of the level less half a pixel of the picture; here it is exact.
- the authors' program restores trained variables alone, so that at use its batch normalisations take off 0
  and divide by 1, whatever the moving averages. The golden points were made so, and released weights are
  read so; a network trained here uses its running averages.
- pairs are drawn anew in each step from crops in memory: the copy is a warp of the crop itself, with its
  border repeated; what that shows does not count. The authors wrote 4,000 pairs to disk and drew those
  whose copy lies inside of the photograph. Brightness and contrast change; hue and saturation do not.
- the authors describe points by HardNet, a network of its own with weights of its own; here by SIFT's
  histograms, seen with `sigma` pixels of the point's level.
- the score r of a point is given as r / (1 + r), so that it lies in [0, 1].
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from asterism.geometry import affine, homography
from asterism.geometry.coords import image_centre, xy_from_uv, xy_from_xyn, xyn_from_xy
from asterism.methods.base import Trainable
from asterism.ops.corners import blur
from asterism.ops.gradient_histograms import CELLS, DIRECTIONS, described, gradients, with_angles
from asterism.ops.peaks import local_maxima
from asterism.ops.sampling import stretched, valid_pixels, warp_image
from asterism.types import Features, Images, Recipe

_GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601, as OpenCV makes pictures grey
_EPS = 1e-6  # of the authors' divisions by maxima and sums


@dataclass(frozen=True)
class KeyNetConfig:
    """`up` and `down` are levels of the pyramid above and below the picture's size, `step` apart.

    `inner` is the factor between the sizes inside of the network. `windows` and `weights` are those of M-SIP;
    `spread` multiplies the weights of windows, whose softmax sums to one, and `unit` the squared distances.
    Angle in degrees; zoom is the range of scales, shear that of the matrix's entry; light and contrast are
    the copy's. `input_size` is that of crops to learn from, `largest` the one pictures are shrunk to fit.
    `sigma`, in pixels of a level, is what descriptors are seen with; `upright` points all of them along x.
    """

    n_keypoints: int = 1500
    input_size: tuple[int, int] = (192, 192)
    filters: int = 8
    blocks: int = 3
    levels: int = 3
    inner: float = 1.2
    smooth: float = 1.5  # sigma before the picture is made smaller inside
    locality: int = 65  # pixels of the window in which brightness and contrast are normalised
    up: int = 1
    down: int = 4
    step: float = math.sqrt(2)
    suppress: int = 15
    border: int = 15
    windows: tuple[int, ...] = (8, 16, 24, 32, 40)
    weights: tuple[float, ...] = (256.0, 64.0, 16.0, 4.0, 1.0)
    spread: float = 100.0
    unit: float = 1000.0
    unseen: int = 16  # pixels at the border of a crop that do not count
    angle: float = 45.0
    zoom: tuple[float, float] = (0.5, 2.0)
    shear: float = 0.8
    light: float = 36 / 255
    contrast: float = 0.5
    sigma: float = 2.5
    upright: bool = False
    largest: tuple[int, int] = (1200, 1600)


Picture = Float[Tensor, "_ 1 _ _"]  # grey, or the response to it


@dataclass(frozen=True)
class Raw:
    levels: tuple[Picture, ...]  # the largest first
    maps: tuple[Picture, ...]
    size: tuple[int, int]  # of the picture


class KeyNet(Trainable[Images, Raw, Features]):
    name = "keynet"
    family = "features"
    paper = (
        "Barroso-Laguna, Riba, Ponsa, Mikolajczyk, Key.Net: Keypoint Detection by Handcrafted and Learned "
        "CNN Filters, ICCV 2019"
    )
    link = "https://arxiv.org/abs/1904.00889"
    Config = KeyNetConfig
    presets: ClassVar = {
        "paper": KeyNetConfig(),
        "small": KeyNetConfig(input_size=(128, 128)),
        "tiny": KeyNetConfig(
            n_keypoints=7,
            input_size=(64, 64),
            sigma=1.6,
            filters=3,
            levels=2,
            locality=17,
            down=1,
            suppress=3,
            border=6,
            windows=(8, 16),
            weights=(4.0, 1.0),
            unseen=4,
            angle=20.0,
            zoom=(0.8, 1.25),
            shear=0.2,
        ),
    }
    takes = Images
    gives = Features
    learns_from = Images
    # 4,000 pairs, 25 epochs; the authors also lower the rate by .7 after each 10 epochs.
    recipe = Recipe(steps=3125, batch_size=32, lr=1e-3)
    recipes: ClassVar = {"small": Recipe(steps=800, batch_size=4, lr=2e-3, schedule="cosine", ema=0.98)}

    def __init__(self, config: KeyNetConfig) -> None:
        super().__init__(config)
        if len(config.windows) != len(config.weights):
            raise ValueError(f"{len(config.windows)} windows have {len(config.weights)} weights")
        self.net = _Response(config)

    def forward(self, batch: Images) -> Raw:
        """Responses at every level of the pyramid that is large enough to hold a point."""
        grey = _grey(batch.image)
        levels = _pyramid(grey, self.config)
        maps = tuple(torch.relu(self.net(level)) for level in levels)
        return Raw(levels=tuple(levels), maps=maps, size=(grey.shape[2], grey.shape[3]))

    def decode(self, raw: Raw, batch: Images) -> Features:
        """The highest responses of each level that nothing near exceeds.

        Levels are given points in proportion to their area; what one lacks the next may have.
        """
        c, b = self.config, len(batch)
        due = [c.step ** (-2 * k) for k in range(c.up + c.down + 1)]
        rows = [batch.image.new_zeros(0, 5 + CELLS**2 * DIRECTIONS)] * b
        taken, so_far = [0] * b, 0
        for k, (level, maps) in enumerate(zip(raw.levels, raw.maps)):
            so_far += int(c.n_keypoints * due[k] / sum(due))
            inside = F.pad(maps[..., c.border : -c.border, c.border : -c.border], (c.border,) * 4)
            uv, value, valid = local_maxima(inside, threshold=0.0, radius=c.suppress // 2, most=so_far)
            for i in range(b):
                on = valid[i, 0].nonzero()[: so_far - taken[i], 0]
                taken[i] += len(on)
                spots = torch.cat([uv[i, 0, on], value[i, 0, on, None]], dim=1)
                rows[i] = torch.cat([rows[i], self._described(level[i], spots, raw.size, k)])
        return _features([row[row[:, 2].argsort(descending=True, stable=True)] for row in rows], batch, c)

    def _described(
        self, level: Float[Tensor, "1 h w"], spots: Float[Tensor, "M 3"], size: tuple[int, int], k: int
    ) -> Float[Tensor, "M2 _"]:
        """x and y in the picture, response, scale, angle and descriptor, of u, v and response in level k."""
        c = self.config
        uv, value = spots.split([2, 1], dim=1)
        places, here = torch.cat([uv, torch.full_like(value, c.sigma), value], dim=1), value[:, 0].long() * 0
        slopes = gradients(blur(level[None], c.sigma)[0])
        if c.upright:
            places = F.pad(places, (0, 1))
        else:
            places, here = with_angles(slopes, places, here)
        scale = c.step ** (k - c.up)
        seen = (level.shape[1], level.shape[2])
        uv = places[:, :2]
        # _pyramid enlarges by exactly `step`, and shows the whole picture in its smaller levels.
        xy = xy_from_uv(uv, scale) if k < c.up else xy_from_xyn(xyn_from_xy(uv, seen), size)
        told = described(slopes, places, here)
        return torch.cat([xy, places[:, 3:4], scale * places[:, 2:3], places[:, 4:], told], dim=1)

    def loss(self, batch: Images) -> dict[str, Tensor]:
        """M-SIP between the crops and warped copies of them, both ways."""
        c, size = self.config, (batch.image.shape[2], batch.image.shape[3])
        copy_from_crop = self._warp(batch.image)
        warps = homography.Homography(b_from_a=copy_from_crop)
        back = homography.Homography(b_from_a=homography.inverse(copy_from_crop))
        copy = self._relit(warp_image(batch.image, warps))
        maps = torch.relu(self.net(_grey(torch.cat([batch.image, copy]))))
        crop_map, copy_map = maps.split(len(batch))
        counts = torch.zeros_like(crop_map)
        inner = slice(c.unseen, -c.unseen)
        counts[..., inner, inner] = 1
        with torch.no_grad():
            seen = [_warped(counts, w) * valid_pixels(w, size, like=counts)[:, None] for w in (warps, back)]
            in_copy, in_crop = (s * counts for s in seen)
            at_copy, at_crop = (
                _warped(m * counts, w) * s
                for m, w, s in ((crop_map, warps, in_copy), (copy_map, back, in_crop))
            )
        sides = ((crop_map * in_crop, at_crop, in_crop), (copy_map * in_copy, at_copy, in_copy))
        return {
            f"window_{window}": weight * sum(_window_cost(*side, window, c) for side in sides) / 2
            for window, weight in zip(c.windows, c.weights)
            if window <= min(size)
        }

    def _warp(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 3"]:
        """copy_from_crop: a turn, a zoom and a shear about the middle, drawn from torch's own dice."""
        c, b = self.config, len(image)
        u = torch.rand(3, b, device=image.device, dtype=image.dtype)
        low, high = c.zoom
        angle, zoom = math.radians(c.angle) * (2 * u[0] - 1), low + (high - low) * u[1]
        turn = affine.similarity(angle, zoom, image.new_zeros(b, 2))
        shear = affine.identity(b, like=image)
        shear[:, 0, 1] = c.shear * (2 * u[2] - 1)
        middle = image_centre((image.shape[2], image.shape[3]), like=image).expand(b, 1, 2)
        linear = affine.compose(shear, turn)
        shift = middle - affine.apply(linear, middle)
        crop_from_copy = torch.cat([linear[..., :2], shift.mT], dim=-1)
        return homography.from_affine(affine.inverse(crop_from_copy))

    def _relit(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 H W"]:
        """Brightness and contrast of half of the copies each."""
        c = self.config
        u = torch.rand(4, len(image), 1, 1, 1, device=image.device, dtype=image.dtype)
        light = c.light * (2 * u[0] - 1) * (u[1] < 0.5)
        contrast = 1 + c.contrast * (2 * u[2] - 1) * (u[3] < 0.5)
        return ((image + light).clamp(0, 1) * contrast).clamp(0, 1)


class _Response(nn.Module):
    """The response at every pixel of grey pictures, B 1 H W."""

    def __init__(self, config: KeyNetConfig) -> None:
        super().__init__()
        c = self.config = config
        blocks: list[nn.Module] = []
        for i in range(c.blocks):
            blocks += [nn.Conv2d(10 if i == 0 else c.filters, c.filters, 5, padding=2)]
            blocks += [nn.BatchNorm2d(c.filters, eps=1e-3), nn.ReLU()]
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.BatchNorm2d(c.levels * c.filters, eps=1e-3)
        self.last = nn.Conv2d(c.levels * c.filters, 1, 5, padding=2)

    def forward(self, grey: Tensor) -> Tensor:
        c, (h, w) = self.config, grey.shape[2:]
        every = []
        for level in range(c.levels):
            inner = c.inner**level
            smaller = stretched(
                _smoothed(grey, c.smooth) if level else grey, (int(h / inner), int(w / inner))
            )
            mixed = self.blocks(handcrafted(normalised(smaller, c.locality)))
            every.append(stretched(mixed, (h, w)))
        return self.last(self.norm(torch.cat(every, dim=1)))


def handcrafted(grey: Float[Tensor, "B 1 H W"]) -> Float[Tensor, "B 10 H W"]:
    """Sobel's derivatives of first and second order, and the products that Harris and Hessian are made of."""
    sobel = grey.new_tensor([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])[None, None]
    dx, dy = (F.conv2d(grey, kernel, padding=1) for kernel in (sobel, sobel.mT))
    dxx, dyy = F.conv2d(dx, sobel, padding=1), F.conv2d(dy, sobel.mT, padding=1)
    dxy = F.conv2d(dx, sobel.mT, padding=1)
    every = [dx, dx**2, dxx, dy, dy**2, dyy, dx * dy, dxx * dyy, dxy, dxy**2]
    return torch.cat(every, dim=1)


def normalised(grey: Float[Tensor, "B 1 H W"], window: int) -> Float[Tensor, "B 1 H W"]:
    """(x - mean) / (1 + standard deviation) of the window around each pixel, mirrored at the border."""
    half = min(window // 2, min(grey.shape[2:]) - 1)

    def mean(x: Tensor) -> Tensor:
        x = F.pad(x, (half,) * 4, mode="reflect")
        return F.avg_pool2d(F.avg_pool2d(x, (2 * half + 1, 1), 1), (1, 2 * half + 1), 1)

    middle = mean(grey)
    # A variance of exactly zero has no slope: pictures of one colour would give NaN gradients.
    deviation = ((mean(grey**2) - middle**2).abs() + torch.finfo(grey.dtype).tiny).sqrt()
    return (grey - middle) / (1 + deviation)


def proposed(maps: Float[Tensor, "B N P"]) -> Float[Tensor, "B N P"]:
    """Weights, summing to one, of the P pixels of each of N windows: exp(s / max s) - 1 of the response s.

    The minus one lets a response of zero have no weight; the maximum has no gradient.
    """
    best = maps.detach().amax(2, keepdim=True)
    weight = torch.expm1(maps / (best + _EPS)) + _EPS
    return weight / (weight.sum(2, keepdim=True) + _EPS)


def _window_cost(own: Tensor, other: Tensor, seen: Tensor, window: int, c: KeyNetConfig) -> Tensor:
    """Between the soft place in each window of `own` and the highest of `other`, which is no variable.

    Windows count by the soft maximum of what stands in them, those that nothing is seen of not at all.
    """
    own, other, seen = (_windows(m, window) for m in (own, other, seen))  # B N P
    share = proposed(own)
    y, x = (torch.arange(window, device=own.device, dtype=own.dtype) for _ in range(2))
    place = torch.stack([x.repeat(window), y.repeat_interleave(window)], dim=-1)  # P 2
    best, index = other.max(2)
    anywhere = torch.randint(window**2, index.shape, device=index.device)  # where the other says nothing
    goal = place[torch.where(best > 0, index, anywhere)]
    with torch.no_grad():
        weight = c.spread * seen.amax(2) * (share * own).sum(2).softmax(1)
    off = (share @ place - goal) / window
    return c.unit * (weight * off.square().sum(-1)).mean()


def _windows(maps: Float[Tensor, "B 1 H W"], window: int) -> Float[Tensor, "B N P"]:
    """Windows side by side from the upper left; what is left over at the far borders is cut off."""
    h, w = (n // window * window for n in maps.shape[2:])
    cut = maps[:, 0, :h, :w].unflatten(1, (-1, window)).unflatten(3, (-1, window))  # B n s m s
    return cut.transpose(2, 3).flatten(3).flatten(1, 2)


def _warped(maps: Tensor, warp: homography.Homography) -> Tensor:
    return warp_image(maps, warp)


def _grey(image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 1 H W"]:
    """Grey, with the brightest pixel at 1 as the authors scale pictures."""
    grey = (image * image.new_tensor(_GREY)[:, None, None]).sum(1, keepdim=True)
    return grey / grey.amax((2, 3), keepdim=True).clamp_min(1 / 255)


def _smoothed(grey: Tensor, sigma: float) -> Tensor:
    """By the authors' Gaussian of 2 sigma's radius. It is divided by the norm of one dimension, not of two,
    so that it makes pictures brighter by sqrt(2 pi) sigma; the weights were learned with that.
    """
    radius = int(2 * sigma)
    line = torch.arange(-radius, radius + 1, device=grey.device, dtype=grey.dtype)
    bell = (-line.square() / (2 * sigma**2)).exp()
    kernel = bell[:, None] * bell / (math.sqrt(2 * math.pi) * sigma)
    return F.conv2d(grey, kernel[None, None], padding=radius)


def _pyramid(grey: Float[Tensor, "B 1 H W"], c: KeyNetConfig) -> list[Float[Tensor, "B 1 h w"]]:
    """The picture enlarged, as it is, and ever smaller; levels without a pixel inside of the border left out.

    Enlarging is by exactly `step`, whatever becomes of the last pixel; a smaller level has its size rounded
    up and shows the whole picture (as OpenCV and scikit-image do it).
    """
    levels = [
        F.interpolate(grey, scale_factor=c.step**k, mode="bilinear") if k else grey
        for k in range(c.up, -1, -1)
    ]
    for _ in range(c.down):
        h, w = (math.ceil(n / c.step) for n in levels[-1].shape[2:])
        smooth = blur(levels[-1], 2 * c.step / 6)  # scikit-image's sigma for a factor
        levels.append(F.interpolate(smooth, size=(h, w), mode="bilinear"))
    return [level for level in levels if min(level.shape[2:]) > 2 * c.border]


def _features(rows: list[Float[Tensor, "_ C"]], batch: Images, c: KeyNetConfig) -> Features:
    """The first n_keypoints rows of every picture, in source pixels."""
    n = c.n_keypoints
    valid = torch.stack([torch.arange(n, device=row.device) < len(row) for row in rows])
    held = torch.stack([F.pad(row[:n], (0, 0, 0, max(n - len(row), 0))) for row in rows])  # B n C
    value, angle, linear = held[..., 2], held[..., 4], batch.to_source[..., :2]
    along = torch.stack([angle.cos(), angle.sin()], dim=-1) @ linear.mT
    return Features(
        xy=affine.apply(batch.to_source, held[..., :2]).masked_fill(~valid[..., None], 0.0),
        score=value / (1 + value),
        valid=valid,
        scale=held[..., 3] * affine.scale_of(batch.to_source)[:, None],
        angle=torch.atan2(along[..., 1], along[..., 0]).masked_fill(~valid, 0.0),
        descriptor=held[..., 5:],
    )
