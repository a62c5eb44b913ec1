"""Sweeps: the paper's claims as experiments, and their runs."""
