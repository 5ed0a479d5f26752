"""Processes of their own: killed while training, and training together."""

import copy
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from asterism.engine.runs import Run
from asterism.engine.train import train
from asterism.engine.weights import load_weights

HERE = Path(__file__).parent
KILLED = """
import sys
import torch
sys.path.insert(0, sys.argv[1])
from conftest import Dot, DotConfig, Dots
from asterism.engine.runs import Run
from asterism.engine.train import train
torch.set_num_threads(1)
torch.manual_seed(0)
run, steps = Run(sys.argv[2]), int(sys.argv[3])
train(Dot(DotConfig()), Dots(), run, steps=steps, device="cpu", save_seconds=0.0, resume=True)
"""
STEPS = 400  # more than two children reach
TOGETHER = """
import sys
import torch, torch.distributed as dist
sys.path.insert(0, sys.argv[1])
from conftest import Dot, DotConfig, Dots
from asterism.engine.runs import Run
from asterism.engine.train import train
torch.set_num_threads(1)
dist.init_process_group("gloo")
torch.manual_seed(dist.get_rank())  # the second begins elsewhere, and must follow
dot = Dot(DotConfig())
train(dot, Dots(), Run(sys.argv[2]), steps=3, device="cpu")
torch.save(dict(dot.state_dict()), sys.argv[2] + f"/rank{dist.get_rank()}.pt")
dist.destroy_process_group()
"""


def environment():
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}


@pytest.mark.slow
def test_killed_at_any_moment_it_goes_on(dot, dots, tmp_path):
    """SIGKILL twice while every step is saved, most likely amid a save; then the bits of a straight run."""
    run = Run(tmp_path / "killed")
    command = [sys.executable, "-c", KILLED, str(HERE), str(run.folder), str(STEPS)]
    for wait in (0.21, 0.34):
        child, began = subprocess.Popen(command, env=environment()), time.monotonic()
        begun = len(list(run.lines()))
        while len(list(run.lines())) <= begun or not run.best.exists():
            assert child.poll() is None and time.monotonic() - began < 60
            time.sleep(0.02)
        time.sleep(wait)
        child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
        load_weights(run.last)
        load_weights(run.best)
    straight = copy.deepcopy(dot)
    train(dot, dots(), run, steps=STEPS, device="cpu", resume=True)
    train(straight, dots(), Run(tmp_path / "straight"), steps=STEPS, device="cpu")
    for one, other in zip(dot.state_dict().values(), straight.state_dict().values()):
        assert torch.equal(one, other)
    steps = [line["step"] for line in run.lines()]
    assert steps == [line["step"] for line in Run(tmp_path / "straight").lines()]


@pytest.mark.slow
def test_two_processes_end_with_the_same_weights(dot, dots, tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    script = tmp_path / "together.py"
    script.write_text(TOGETHER)
    done = subprocess.run(
        [*command, str(script), str(HERE), str(tmp_path / "run")],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    one, two = (torch.load(tmp_path / "run" / f"rank{r}.pt", weights_only=True) for r in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert any(not torch.equal(one[name], value) for name, value in dot.state_dict().items())
    assert [line["step"] for line in Run(tmp_path / "run").lines()] == [1]
