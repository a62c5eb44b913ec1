"""Uses trained weights: classifies photos, computes features, evaluates and averages nets."""
