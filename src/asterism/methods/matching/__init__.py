"""Many images matched consistently: one file per paper, all on the contract of methods/synchroniser.py."""
