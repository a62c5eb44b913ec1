"""The operations of `models.ops` in forms that suit a device; `choose` picks them.

Each module replaces a function of `ops` by one with the same arguments, and says what this gains
and why; docs/lab-notes.md has the measurements. Tests compare the two, forward and backward. These
gradients are custom, so `jax.jvp` raises TypeError: use the plain operations for that.
"""
