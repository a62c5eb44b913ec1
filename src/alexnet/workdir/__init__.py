"""The files that a run leaves in its workdir, and the lock that makes the workdir its own."""
