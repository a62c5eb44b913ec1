"""Sweeps: the paper's claims as experiments, their runs, and what these say about the claims."""
