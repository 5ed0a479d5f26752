"""A method without the command line and without files: tensors in, tensors out.

Every method takes a batch and gives a result with `predict`; what it gives is in pixels of the source
picture, because the batch says how its own pixels lie there (`to_source`).
"""

import torch

import asterism
from asterism.types import Images

method_class = asterism.method_class("stacked-hourglass")
method = method_class(method_class.presets["small"])

h, w = method.config.input_size
crop = torch.rand(1, 3, h, w)
twice_as_large_at_10_20 = torch.tensor([[[2.0, 0.0, 10.0], [0.0, 2.0, 20.0]]])
found = method.predict(Images(image=crop, to_source=twice_as_large_at_10_20))

print(found)  # Keypoints2D(xy 1x16x2, score 1x16)
print(found.xy[0, 0])
