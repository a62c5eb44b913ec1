"""Trained weights at work."""
