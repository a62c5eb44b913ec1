"""Sections 4.2 and 5: a run from its config to its last checkpoint."""
