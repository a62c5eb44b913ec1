"""The operations of `models.ops` in forms that a device likes; `choose` gives them to it.

Each module has the function of `ops` that it stands for, with the same arguments, and says what it
gained and why; docs/speed.md has the measurements. Tests compare both, forward and backward. Their
gradients are custom, so `jax.jvp` of them raises TypeError: take the plain ones for that.
"""
