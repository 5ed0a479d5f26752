"""One thread of torch per test process: xdist runs several, and they would fight for the cores."""

import torch

torch.set_num_threads(1)
