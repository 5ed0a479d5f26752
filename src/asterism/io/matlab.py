"""MATLAB's .mat files, as far as label files need them. Nothing in them is ever run."""

from pathlib import Path
from typing import Any

import numpy as np

from asterism.errors import BadAnnotation


def read_mat(path: str | Path) -> dict[str, Any]:
    """The variables of a .mat file; structs are dicts. Raises BadAnnotation.

    Files saved with -v7.3 are HDF5 and are refused with what to do.
    """
    from scipy.io import loadmat

    try:
        held = loadmat(path, simplify_cells=True)
    except FileNotFoundError as error:
        raise BadAnnotation(f"{path}: does not exist") from error
    except NotImplementedError as error:
        raise BadAnnotation(f"{path}: was saved with -v7.3; in MATLAB: save(name, '-v7')") from error
    except Exception as error:  # scipy raises whatever a damaged file makes it stumble over
        raise BadAnnotation(f"{path}: cannot be read as .mat ({type(error).__name__}: {error})") from error
    return {name: value for name, value in held.items() if not name.startswith("__")}


def as_list(value: Any) -> list[Any]:
    """A struct array as a list: MATLAB has no difference between one and a list of one, or none and empty."""
    if value is None or (isinstance(value, np.ndarray) and value.size == 0):
        return []
    return list(value) if isinstance(value, list | np.ndarray) else [value]
