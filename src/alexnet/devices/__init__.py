"""Section 3.2: the mesh, several processes as one run, and what suits the device."""
