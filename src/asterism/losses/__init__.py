"""Functions from tensors to a scalar."""
