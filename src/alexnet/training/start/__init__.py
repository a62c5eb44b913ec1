"""What a run begins from: another run's weights, or its own earlier settings and images."""
