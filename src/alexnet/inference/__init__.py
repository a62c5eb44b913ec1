"""Uses trained weights: classifies photos and computes features."""
