"""Sweeps: the paper's claims as experiments, their runs, and verdicts on the claims."""
