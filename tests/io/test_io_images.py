"""Hand-made pictures of every kind come out as uint8 RGB; damaged ones as BadImage and nothing else."""

import io
import os
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from asterism.errors import BadImage, RequestError
from asterism.io.images import IMAGE_SUFFIXES, image_size, read_image, write_image

RNG = np.random.default_rng(5)
PICTURE = RNG.integers(0, 256, (5, 7, 3)).astype(np.uint8)
DATA = Path(__file__).parents[2] / "../shared/data"


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_header(width: int, height: int) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("suffix", IMAGE_SUFFIXES)
def test_written_and_read_back(tmp_path: Path, suffix: str) -> None:
    smooth = np.fromfunction(lambda y, x, c: 40 + 3 * y + 2 * x + 10 * c, (32, 48, 3)).astype(np.uint8)
    path = tmp_path / f"a{suffix}"
    write_image(path, smooth)
    back = read_image(path)
    assert back.dtype == np.uint8 and back.shape == (32, 48, 3) and image_size(path) == (32, 48)
    lossy = suffix in (".jpg", ".jpeg", ".webp")
    assert np.abs(back.astype(int) - smooth).max() <= (6 if lossy else 0)


def test_one_pixel_and_long_thin(tmp_path: Path) -> None:
    for shape in [(1, 1, 3), (1, 20000, 3), (20000, 1, 3)]:
        write_image(tmp_path / "a.png", np.full(shape, 7, np.uint8))
        assert read_image(tmp_path / "a.png").shape == shape and image_size(tmp_path / "a.png") == shape[:2]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".webp"])
def test_exif_orientation(tmp_path: Path, orientation: int, suffix: str) -> None:
    """Pixels stored turned are turned back. For TIFF Pillow does it, so that it judges the table, too."""
    upright = np.zeros((16, 24, 3), np.uint8)
    upright[:8, :8] = 255, 0, 0
    upright[8:, 16:] = 0, 0, 255
    t = upright.transpose(1, 0, 2)
    h, v, hv = upright[:, ::-1], upright[::-1], upright[::-1, ::-1]
    stored = [upright, h, hv, v, t, t[::-1], t[::-1, ::-1], t[:, ::-1]]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a{suffix}"
    quality = {"lossless": True} if suffix == ".webp" else {"quality": 100, "subsampling": 0}
    quality = {} if suffix in (".png", ".tif") else quality
    Image.fromarray(np.ascontiguousarray(stored[orientation - 1])).save(path, exif=exif, **quality)
    assert image_size(path) == (16, 24)
    assert np.abs(read_image(path).astype(int) - upright).max() <= (4 if suffix == ".jpg" else 0)


def test_sixteen_bits_scale_by_257(tmp_path: Path) -> None:
    deep = np.array([[0, 257, 256 * 128 + 128, 65535]], np.uint16)
    for name in ("a.png", "a.tif", "a.pgm"):
        Image.fromarray(deep).save(tmp_path / name)
        assert read_image(tmp_path / name)[0, :, 1].tolist() == [0, 1, 128, 255]


def test_floats_and_long_integers(tmp_path: Path) -> None:
    for values, wanted in [
        (np.array([[0.0, 0.5, 1.0]], np.float32), [0, 128, 255]),
        (np.array([[0.25, 0.5, np.nan]], np.float32), [64, 128, 0]),
        (np.array([[-10.0, 0.0, 10.0]], np.float32), [0, 128, 255]),
        (np.array([[0, 100000, 200000]], np.int32), [0, 128, 255]),
        (np.array([[5000.0, 5000.0]], np.float32), [0, 0]),
    ]:
        Image.fromarray(values).save(tmp_path / "a.tif")
        assert read_image(tmp_path / "a.tif")[0, :, 0].tolist() == wanted


def test_palette_alpha_cmyk_and_bits(tmp_path: Path) -> None:
    Image.fromarray(PICTURE).quantize(64).save(tmp_path / "palette.png")
    assert (read_image(tmp_path / "palette.png") == PICTURE).all()  # 35 colours fit
    Image.new("CMYK", (2, 1), (0, 255, 255, 0)).save(tmp_path / "cmyk.tif")
    assert read_image(tmp_path / "cmyk.tif")[0, 0].tolist() == [255, 0, 0]
    Image.new("RGBA", (2, 1), (255, 0, 0, 0)).save(tmp_path / "alpha.png")
    assert read_image(tmp_path / "alpha.png")[0, 0].tolist() == [255, 255, 255]  # what is hidden stays hidden
    Image.new("LA", (1, 1), (0, 51)).save(tmp_path / "la.png")
    assert read_image(tmp_path / "la.png")[0, 0].tolist() == [204, 204, 204]  # 255 * (1 - 51 / 255)
    Image.new("1", (3, 1), 1).save(tmp_path / "bit.png")
    assert (read_image(tmp_path / "bit.png") == 255).all()
    clear = Image.fromarray(PICTURE).quantize(4)
    clear.save(tmp_path / "clear.png", transparency=0)
    hidden = np.asarray(clear) == 0
    assert (read_image(tmp_path / "clear.png")[hidden] == 255).all()


def test_first_picture_of_an_animation(tmp_path: Path) -> None:
    first, second = Image.new("RGB", (4, 3), "red"), Image.new("RGB", (4, 3), "blue")
    for name in ("a.png", "a.webp", "a.tif"):
        first.save(tmp_path / name, save_all=True, append_images=[second])
        assert np.abs(read_image(tmp_path / name).astype(int) - [255, 0, 0]).max() <= 2


def test_content_counts_and_not_the_ending(tmp_path: Path) -> None:
    Image.fromarray(PICTURE).save(tmp_path / "a.bmp")
    os.rename(tmp_path / "a.bmp", tmp_path / "a.jpg")
    assert (read_image(tmp_path / "a.jpg") == PICTURE).all()


def test_what_is_no_picture_says_so(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("hello, I am no picture")
    Image.new("L", (3, 3)).save(tmp_path / "a.gif")  # a format that is not on the list
    (tmp_path / "loop.png").symlink_to("loop.png")
    os.mkfifo(tmp_path / "pipe.png")
    write_image(tmp_path / "cut.png", RNG.integers(0, 256, (64, 64, 3)).astype(np.uint8))
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:3000])
    for name, message in [
        ("none.png", "does not exist"),
        ("empty.png", "is empty"),
        ("text.png", "is not a picture"),
        ("a.gif", "is not a picture"),
        ("loop.png", "does not exist"),
        ("pipe.png", "is no file"),
        (".", "is a folder"),
        ("cut.png", "is damaged"),
        ("x" * 300 + ".png", "does not exist"),
        ("a\0b.png", "does not exist"),
    ]:
        for reader in (read_image, image_size) if name != "cut.png" else (read_image,):
            with pytest.raises(BadImage, match=message) as caught:
                reader(tmp_path / name)
            assert str(tmp_path / name) in str(caught.value)


def test_a_name_that_is_no_utf8(tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png")
    write_image(path, PICTURE)
    assert (read_image(path) == PICTURE).all()


@pytest.mark.parametrize("size", [(10001, 10000), (30000, 30000), (2**31 - 1, 2**31 - 1)])
def test_bombs_are_refused_by_their_header(tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(*size))
    start = time.perf_counter()
    with pytest.raises(BadImage, match="the limit is 100 megapixels; shrink it"):
        read_image(path)
    assert time.perf_counter() - start < 1


def test_the_limit_is_inclusive(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", PICTURE)
    assert read_image(tmp_path / "a.png", max_pixels=35).shape == PICTURE.shape
    with pytest.raises(BadImage, match="7 x 5 pixels"):
        read_image(tmp_path / "a.png", max_pixels=34)


def test_other_endings_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"\.png"):
        write_image(tmp_path / "a.gif", PICTURE)


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    raw = bytearray(data)
    what = rng.integers(4)
    if what == 0:
        return bytes(raw[: rng.integers(1, len(raw))])
    if what == 1:
        for at in rng.integers(0, len(raw), 8):
            raw[at] ^= 1 << rng.integers(8)
    elif what == 2:
        raw[rng.integers(0, min(64, len(raw)))] = rng.integers(256)
    else:
        at = rng.integers(0, len(raw))
        raw[at:at] = rng.bytes(5)
    return bytes(raw)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "PPM", "TIFF", "WEBP", "BMP"])
def test_mutated_files_give_a_picture_or_bad_image(tmp_path: Path, form: str) -> None:
    rng = np.random.default_rng(len(form))
    image = Image.fromarray(rng.integers(0, 256, (24, 32, 3)).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    image.save(buffer, form, **({"exif": exif} if form in ("JPEG", "PNG", "TIFF", "WEBP") else {}))
    path, messages = tmp_path / "a.png", []
    for _ in range(40):
        path.write_bytes(mutated(buffer.getvalue(), rng))
        try:
            picture = read_image(path, max_pixels=1_000_000)
            assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3
        except BadImage as error:
            messages.append(str(error))
    assert messages and all(str(path) in message for message in messages)


@pytest.mark.data
@pytest.mark.skipif(not DATA.is_dir(), reason="no shared data")
def test_real_pictures() -> None:
    paths = sorted(
        p for p in (DATA / "label_format_fixtures").rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES
    )
    assert len(paths) > 50
    for path in paths[::5]:
        assert read_image(path).shape[:2] == image_size(path)
