"""The cost of a step, computed from the net's table or read from the compiled program."""
