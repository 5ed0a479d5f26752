"""Keypoints: learn, detect, describe, match, lift and use them.

Importing this is cheap. A name below is imported from its module when it is first used:

    open_data(what)        pictures, labels and clips behind a path or world:NAME, as an ImageSet
    discover(data, k, run) keypoints without labels, and a report on them
    train_on, predict_to, evaluate_run   what the verbs train, predict and evaluate do
    load(folder)           (method, skeleton) of a folder of weights, such as RUN/best
    list_methods()         the catalogue by name; method_class(name) is the class of one
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asterism.catalogue import entries as list_methods
    from asterism.catalogue import method_class
    from asterism.data.sources import open_data
    from asterism.engine.discover import discover
    from asterism.engine.evaluate import evaluate_run
    from asterism.engine.predict_files import predict_to
    from asterism.engine.train import train_on
    from asterism.engine.weights import load_weights as load

_WHERE = {
    "list_methods": "catalogue.entries",
    "method_class": "catalogue.method_class",
    "open_data": "data.sources.open_data",
    "discover": "engine.discover.discover",
    "train_on": "engine.train.train_on",
    "predict_to": "engine.predict_files.predict_to",
    "evaluate_run": "engine.evaluate.evaluate_run",
    "load": "engine.weights.load_weights",
}

__all__ = [
    "discover",
    "evaluate_run",
    "load",
    "method_class",
    "list_methods",
    "open_data",
    "predict_to",
    "train_on",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("asterism")
    if name not in _WHERE:
        raise AttributeError(f"module 'asterism' has no attribute '{name}'; it has {', '.join(__all__)}")
    module, _, attribute = _WHERE[name].rpartition(".")
    return getattr(importlib.import_module(f"asterism.{module}"), attribute)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
