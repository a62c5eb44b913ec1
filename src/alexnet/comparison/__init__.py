"""Comparisons: the runs of each arm, paired with the baseline's, and verdicts on the claims."""
