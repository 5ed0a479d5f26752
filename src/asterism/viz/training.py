"""The course of a training as a chart."""

from pathlib import Path

from asterism.engine.runs import Run
from asterism.io.images import write_image
from asterism.viz.plot import Curve, chart

_NOT_TERMS = {"step", "seconds", "rate", "gradient", "validation", "recycled"}


def write_losses(run: Run) -> Path | None:
    """loss.png in the run folder: every term of the loss over the steps. None where the log has no line."""
    lines = [line for line in run.lines() if "rate" in line]
    terms = [name for name in (lines[0] if lines else {}) if name not in _NOT_TERMS]
    curves = {}
    for name in terms:
        known = [line for line in lines if line.get(name) is not None]
        if known:
            curves[name] = Curve(x=[line["step"] for line in known], y=[line[name] for line in known])
    if not curves:
        return None
    path = run.folder / "loss.png"
    write_image(path, chart(curves, x_name="step", y_name="loss", title=run.folder.name))
    return path
