"""Pictures as uint8 RGB arrays. Only the named formats are opened, and only below a limit of pixels.

Deeper pictures come down to 8 bits: 16-bit integers by 1/257 (so that 65535 becomes 255); floats in [0, 1] by
255; anything else (32-bit integers, floats beyond [0, 1]) by its own smallest and largest value, which
become 0 and 255. Transparent pixels are laid over white. Of an animation the first picture is read.
"""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from asterism.errors import BadImage, RequestError
from asterism.io.atomic import atomic_write

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".pgm", ".tif", ".tiff", ".webp", ".bmp")
# A short list is the defence: the holes of decoders are found in the formats that nobody uses.
_FORMATS = ("JPEG", "PNG", "PPM", "TIFF", "WEBP", "BMP")
_MAX_PIXELS = 100_000_000  # 300 MB as RGB; a 10000 x 10000 slide scan still fits
_ORIENTATION = 0x0112  # the tag of EXIF and TIFF
_TRANSPOSED = (5, 6, 7, 8)  # its values that exchange width and height
_WIDTH, _HEIGHT = 256, 257  # tags of TIFF


def read_image(path: str | Path, max_pixels: int = _MAX_PIXELS) -> NDArray[np.uint8]:
    """The picture at `path`, "H W 3", RGB, turned upright by its EXIF orientation.

    Raises BadImage, naming the file, when it is absent, no picture, damaged, or larger than `max_pixels`
    (checked on the header, before anything is decoded).
    """
    with _opened(Path(path), max_pixels) as image:
        orientation = _orientation(image)
        image.load()
        if image.format == "TIFF":  # newer Pillows turn a TIFF while loading and take its tag away
            orientation = image.getexif().get(_ORIENTATION, 1)
        array = _rgb(image)
    return _upright(array, orientation)


def image_size(path: str | Path, max_pixels: int = _MAX_PIXELS) -> tuple[int, int]:
    """(h, w) of what `read_image` would return, from the header alone. Raises BadImage like it."""
    with _opened(Path(path), max_pixels) as image:
        width, height = image.size
        if image.format == "TIFF":  # before loading, `size` is turned in newer Pillows and not in older ones
            tags = image.tag_v2  # pyright: ignore[reportAttributeAccessIssue]
            width, height = int(tags[_WIDTH]), int(tags[_HEIGHT])
        return (width, height) if _orientation(image) in _TRANSPOSED else (height, width)


def write_image(path: str | Path, picture: NDArray[np.uint8]) -> None:
    """Write a picture "H W 3" or "H W" in the format of the ending. Raises RequestError for other endings."""
    path = Path(path)
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        raise RequestError(f"{path}: pictures can be written as {', '.join(IMAGE_SUFFIXES)}")
    with atomic_write(path) as temporary:
        Image.fromarray(picture).save(temporary, quality=95)  # the highest that Pillow recommends


@contextmanager
def _opened(path: Path, max_pixels: int) -> Iterator[Image.Image]:
    """The header is read and found small enough. Every failure of the body, too, becomes BadImage."""
    if not os.path.isfile(path):  # also keeps us from waiting for ever on a pipe
        what = (
            "is a folder"
            if os.path.isdir(path)
            else "is no file"
            if os.path.exists(path)
            else "does not exist"
        )
        raise BadImage(f"{path}: {what}; a picture is wanted")
    try:
        # Pillow warns of things that are handled here: large pictures, damaged EXIF, odd palettes.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if path.stat().st_size == 0:
                raise BadImage(f"{path}: is empty (0 bytes); copy or export it again")
            with Image.open(path, formats=_FORMATS) as image:
                if image.width * image.height > max_pixels:
                    raise _too_large(path, f"{image.width} x {image.height} pixels", max_pixels)
                yield image
    except BadImage:
        raise
    except Image.UnidentifiedImageError as error:
        raise BadImage(f"{path}: is not a picture; {', '.join(_FORMATS)} can be read") from error
    except Image.DecompressionBombError as error:  # Pillow's own limit
        raise _too_large(path, "too many pixels", max_pixels) from error
    except Exception as error:
        # Decoders meet damage with OSError, SyntaxError, ValueError, struct.error, KeyError and others.
        raise BadImage(f"{path}: is damaged ({error}); copy or export it again") from error


def _too_large(path: Path, given: str, max_pixels: int) -> BadImage:
    return BadImage(
        f"{path}: {given}, the limit is {max_pixels / 1e6:g} megapixels; shrink it or cut it into tiles"
    )


def _orientation(image: Image.Image) -> int:
    """EXIF orientation 1..8, from the header. Damaged EXIF means upright."""
    if image.format == "PNG" and "exif" not in image.info:  # PNG would decode all to look behind the pixels
        return 1
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:
        return 1


def _upright(array: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Undo an EXIF orientation: the picture as the photographer saw it."""
    if orientation in _TRANSPOSED:
        array = array.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return np.ascontiguousarray(array)


def _rgb(image: Image.Image) -> NDArray[np.uint8]:
    """Any mode of Pillow -> "H W 3"."""
    if image.mode == "F" or image.mode.startswith("I"):
        return np.repeat(_eight_bits(np.asarray(image))[..., None], 3, axis=-1)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return np.array(image.convert("RGB"))


def _eight_bits(deep: NDArray) -> NDArray[np.uint8]:
    """Grey of more than 8 bits -> 8 bits, by the rule at the top of this file. Non-finite becomes 0."""
    grey = np.where(np.isfinite(deep), deep, 0).astype(np.float64)
    low, high = float(grey.min()), float(grey.max())
    if deep.dtype.kind == "f" and low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    elif deep.dtype.kind != "f" and low >= 0 and high <= 65535:
        low, high = 0.0, 65535.0
    span = high - low or 1.0
    return np.rint((grey - low) * (255 / span)).astype(np.uint8)
