"""Cameras in OpenCV's YAML and XML (FileStorage), one camera per file, and EasyMocap's pair of YAML files.

A file of one camera holds camera_matrix, distortion_coefficients, image_width, image_height, and where the
camera stands: R (3 x 3, or a Rodrigues vector) and T, from the world to the camera. The spellings of OpenCV's
samples are read, too (cameraMatrix, K, M; distCoeffs, dist, D; rvec; tvec). Several cameras are a folder of
such files, and each is named as its file. EasyMocap keeps all cameras in intri.yml (`names`, K_NAME,
dist_NAME) and extri.yml (R_NAME a Rodrigues vector, Rot_NAME the matrix, T_NAME). Pixels are OpenCV's:
centres are whole numbers.
"""

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from asterism.errors import BadAnnotation, RequestError
from asterism.io.atomic import write_text
from asterism.io.camera_table import (
    Camera,
    CameraTable,
    array,
    as_table,
    dotted,
    five_terms,
    matrix_of,
    rotation_of,
    size_of,
)
from asterism.io.fields import Entry, kind

OPENCV_SUFFIXES = (".yml", ".yaml", ".xml")
_MATRIX = ("camera_matrix", "cameraMatrix", "Camera_Matrix", "K", "M", "intrinsics")
_TERMS = ("distortion_coefficients", "Distortion_Coefficients", "distCoeffs", "dist", "D")
_TURN = ("R", "Rot", "rotation", "rvec")
_SHIFT = ("T", "t", "tvec", "translation")


def read_opencv(path: Path, *, placed: bool) -> CameraTable:
    """One camera. One that is not `placed` may lack R and T and then stands at the origin.

    Raises BadAnnotation naming the file and the field.
    """
    entry = read_storage(path)
    turn, shift = _first(entry, _TURN), _first(entry, _SHIFT)
    at_origin = not placed and turn is None and shift is None
    wide, high = entry.get("image_width"), entry.get("image_height")
    terms = _first(entry, _TERMS)
    one = Camera(
        name=path.stem,
        matrix=matrix_of(path, entry, "", _first(entry, _MATRIX) or _MATRIX[0]),
        rotation=np.eye(3) if at_origin else _rotation(path, entry, turn or _TURN[0]),
        translation=np.zeros(3) if at_origin else _column(path, entry, shift or _SHIFT[0], 3),
        distortion=np.zeros(5) if terms is None else _distortion(path, entry, terms),
        size=None if wide is None or high is None else size_of(path, [high, wide], "", flipped=False),
    )
    return as_table(path, [one])


def read_opencv_folder(folder: Path) -> CameraTable:
    """A folder of files, a camera each, in the order of their names."""
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in OPENCV_SUFFIXES)
    tables = [read_opencv(file, placed=True) for file in files]
    if len({table.names for table in tables}) != len(tables):
        raise BadAnnotation(f"{folder}: two files have one name but for the ending; a camera is a file")
    return CameraTable(
        names=tuple(table.names[0] for table in tables),
        intrinsics=np.concatenate([table.intrinsics for table in tables]),
        cam_from_world=np.concatenate([table.cam_from_world for table in tables]),
        distortion=np.concatenate([table.distortion for table in tables]),
        sizes=tuple(table.sizes[0] for table in tables),
        source=str(folder),
    )


def write_opencv_folder(folder: str | Path, table: CameraTable, suffix: str) -> None:
    """A file NAME.yml or NAME.xml per camera; the folder is made."""
    _check_names(folder, table)
    Path(folder).mkdir(exist_ok=True)
    for v, name in enumerate(table.names):
        size = table.sizes[v]
        entry: dict[str, Any] = {} if size is None else {"image_width": size[1], "image_height": size[0]}
        entry |= {"camera_matrix": table.intrinsics[v], "distortion_coefficients": table.distortion[v][None]}
        entry |= {"R": table.cam_from_world[v, :, :3], "T": table.cam_from_world[v, :, 3:]}
        write_storage(Path(folder) / f"{name}{suffix}", entry)


def read_easymocap(folder: Path) -> CameraTable:
    """intri.yml and extri.yml of a folder. Raises BadAnnotation naming the file and the field."""
    inner, outer = folder / "intri.yml", folder / "extri.yml"
    within, without = read_storage(inner), read_storage(outer)
    names = within.get("names")
    if not isinstance(names, list) or not names:
        raise BadAnnotation(f"{inner}: names: wanted a list of names, found {kind(names)}")
    cameras = []
    for name in map(str, names):
        size = [within.get(f"H_{name}"), within.get(f"W_{name}")]
        turn = f"Rot_{name}" if f"Rot_{name}" in without else f"R_{name}"
        has_terms = f"dist_{name}" in within
        cameras.append(
            Camera(
                name=name,
                matrix=matrix_of(inner, within, "", f"K_{name}"),
                rotation=_rotation(outer, without, turn),
                translation=_column(outer, without, f"T_{name}", 3),
                distortion=_distortion(inner, within, f"dist_{name}") if has_terms else np.zeros(5),
                size=None if None in size else size_of(inner, size, name, flipped=False),
            )
        )
    return as_table(folder, cameras)


def write_easymocap(folder: str | Path, table: CameraTable) -> None:
    """intri.yml and extri.yml; the folder is made."""
    _check_names(folder, table)
    Path(folder).mkdir(exist_ok=True)
    inner: dict[str, Any] = {"names": list(table.names)}
    outer: dict[str, Any] = {"names": list(table.names)}
    turns = Rotation.from_matrix(table.cam_from_world[:, :, :3]).as_rotvec()
    for v, name in enumerate(table.names):
        size = table.sizes[v]
        inner |= {f"K_{name}": table.intrinsics[v], f"dist_{name}": table.distortion[v][None]}
        inner |= {} if size is None else {f"H_{name}": size[0], f"W_{name}": size[1]}
        outer |= {f"R_{name}": turns[v][:, None], f"Rot_{name}": table.cam_from_world[v, :, :3]}
        outer |= {f"T_{name}": table.cam_from_world[v, :, 3:]}
    write_storage(Path(folder) / "intri.yml", inner)
    write_storage(Path(folder) / "extri.yml", outer)


# ------------------------------------------------------------------------------------- OpenCV's FileStorage


def read_storage(path: Path) -> Entry:
    """The top level of a YAML or XML file: matrices are lists of rows, the rest numbers, texts and lists."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise BadAnnotation(f"{path}: does not exist") from error
    except (OSError, ValueError) as error:
        raise BadAnnotation(f"{path}: cannot be read as text ({error})") from error
    return _xml(path, text) if path.suffix.lower() == ".xml" else _yaml(path, text)


def write_storage(path: Path, entry: Entry) -> None:
    """Matrices, whole numbers and lists of texts, as OpenCV writes them; numbers are read back exactly."""
    write_text(path, _as_xml(entry) if path.suffix.lower() == ".xml" else _as_yaml(entry))


def _yaml(path: Path, text: str) -> Entry:
    blocks: list[tuple[str, str]] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith(("%", "---", "...", "#")):
            continue
        if line[0] in " \t-" and blocks:
            blocks[-1] = (blocks[-1][0], blocks[-1][1] + "\n" + line)
        elif key := re.match(r'"?([\w.\- ]+?)"?\s*:(.*)$', line):
            blocks.append((key[1], key[2].strip()))
        else:
            raise BadAnnotation(
                f"{path}: line {number}: {line[:60]!r} is no 'key: value'; wanted OpenCV's YAML"
            )
    return {key: _yaml_value(path, key, value) for key, value in blocks}


def _yaml_value(path: Path, key: str, value: str) -> Any:
    if value.startswith("!!opencv-matrix"):
        parts = dict(re.findall(r"^\s*(rows|cols|dt)\s*:\s*(\S+)", value, re.MULTILINE))
        data = re.search(r"data\s*:\s*\[(.*)\]", value, re.DOTALL)
        return _rows(path, key, parts.get("rows"), parts.get("cols"), data and data[1].replace(",", " "))
    if value.startswith("["):
        return [_scalar(part) for part in value.strip("[] \n").split(",") if part.strip()]
    if value.startswith("\n"):
        return [_scalar(part) for part in re.findall(r"^\s*-\s*(.+)$", value, re.MULTILINE)]
    return _scalar(value)


def _xml(path: Path, text: str) -> Entry:
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise BadAnnotation(f"{path}: has a DOCTYPE; OpenCV writes none, and it is not read")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise BadAnnotation(f"{path}: cannot be read as XML ({error})") from error
    found: Entry = {}
    for node in root:
        if node.get("type_id") == "opencv-matrix":
            rows, cols, data = (node.findtext(name) for name in ("rows", "cols", "data"))
            found[node.tag] = _rows(path, node.tag, rows, cols, data)
        elif len(node):
            found[node.tag] = [_scalar(child.text or "") for child in node]
        else:
            words = re.findall(r'"[^"]*"|\S+', node.text or "")
            found[node.tag] = _scalar(words[0]) if len(words) == 1 else [_scalar(word) for word in words]
    return found


def _rows(path: Path, key: str, rows: str | None, cols: str | None, data: str | None) -> list[list[float]]:
    try:
        values = [float(word.replace(".Nan", "nan").replace(".Inf", "inf")) for word in (data or "").split()]
        shape = (int(rows or ""), int(cols or ""))
    except ValueError:
        raise BadAnnotation(
            f"{path}: {key}: is no matrix of numbers; wanted rows, cols and data as OpenCV writes them"
        ) from None
    if shape[0] * shape[1] != len(values) or min(shape) < 1:
        raise BadAnnotation(f"{path}: {key}: says {shape[0]} x {shape[1]} and holds {len(values)} numbers")
    return np.reshape(values, shape).tolist()


def _scalar(text: str) -> Any:
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        return text[1:-1]
    for reading in (int, float):
        try:
            return reading(text)
        except ValueError:
            continue
    return text


def _as_yaml(entry: Entry) -> str:
    lines = ["%YAML:1.0", "---"]
    for key, value in entry.items():
        if isinstance(value, np.ndarray):
            lines += [f"{key}: !!opencv-matrix", f"   rows: {value.shape[0]}", f"   cols: {value.shape[1]}"]
            lines += ["   dt: d", f"   data: [ {', '.join(map(repr, value.ravel().tolist()))} ]"]
        elif isinstance(value, list):
            lines += [f"{key}:", *(f'   - "{each}"' for each in value)]
        else:
            lines.append(f"{key}: {value}")
    return "\n".join([*lines, ""])


def _as_xml(entry: Entry) -> str:
    root = ElementTree.Element("opencv_storage")
    for key, value in entry.items():
        node = ElementTree.SubElement(root, key)
        if isinstance(value, np.ndarray):
            node.set("type_id", "opencv-matrix")
            parts = {"rows": value.shape[0], "cols": value.shape[1], "dt": "d"}
            for name, part in (parts | {"data": " ".join(map(repr, value.ravel().tolist()))}).items():
                ElementTree.SubElement(node, name).text = str(part)
        elif isinstance(value, list):
            for each in value:
                ElementTree.SubElement(node, "_").text = f'"{each}"'
        else:
            node.text = str(value)
    ElementTree.indent(root, " ")
    return '<?xml version="1.0"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


# --------------------------------------------------------------------------------------------------- fields


def _first(entry: Entry, names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in entry), None)


def _column(path: Path, entry: Entry, key: str, count: int) -> NDArray[np.float64]:
    """A row or a column of `count` numbers."""
    if key in entry and isinstance(entry[key], list):
        flat = [x for row in entry[key] for x in (row if isinstance(row, list) else [row])]
        return array(path, {key: flat}, "", key, (count,))
    return array(path, entry, "", key, (count,))


def _rotation(path: Path, entry: Entry, key: str) -> NDArray[np.float64]:
    """A 3 x 3 matrix, or a Rodrigues vector."""
    if isinstance(entry.get(key), list) and np.size(entry[key]) == 3:
        return Rotation.from_rotvec(_column(path, entry, key, 3)).as_matrix()
    return rotation_of(path, entry, "", key)


def _distortion(path: Path, entry: Entry, key: str) -> NDArray[np.float64]:
    value = entry[key]
    if not isinstance(value, list):
        raise BadAnnotation(f"{path}: {dotted('', key)}: wanted a row of numbers, found {kind(value)}")
    return five_terms(path, np.asarray(value, dtype=np.float64).ravel(), "", key)


def _check_names(folder: str | Path, table: CameraTable) -> None:
    for name in table.names:
        if not re.fullmatch(r"[\w\-]+", name):
            raise RequestError(
                f"{folder}: a camera is called {name!r}; this format wants names of letters, digits, _ and -"
            )
