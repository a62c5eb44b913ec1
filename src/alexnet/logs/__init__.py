"""Logs: where a run's numbers go."""
