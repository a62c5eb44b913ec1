"""Section 5: a run from its config to its last checkpoint."""
