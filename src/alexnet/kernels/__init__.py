"""Faster forms of the operations of `models.ops` for CPUs and GPUs; `choose` picks them.

Each module says what it gains and why. Times are of the CPUs of docs/lab-notes.md, unless another
device is named. Tests compare the fast and the plain operations, forward and backward. Most
gradients here are custom, and `jax.jvp` raises TypeError there: use the plain operations for that.
"""
