"""Section 5: a run from its config to its last checkpoint.

loop.py        a training run from start to finish: begin to read here
settings.py    a config's settings, checked; each section is a function's arguments
setup.py       settings -> a run: data opened, net built
run.py         what a config describes, ready to train and to evaluate
forward.py     stored images -> logits: augmentation and net, on both towers
step.py        the softmax loss, its gradient, and the new state
dispatch.py    several steps as one program
programs.py    compiled programs that several runs share
optimizer.py   the update rule
schedule.py    learning rates over time
evaluation.py  top-1 and top-5 error of a split, each example counted once
start/         what a run begins from: other weights, its own earlier settings and images
watch/         what is watched on the way: the losses, divergence, stalls, memory
"""
