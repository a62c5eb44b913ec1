"""What a run leaves in its workdir: config, checkpoints, provenance; and the lock on it."""
