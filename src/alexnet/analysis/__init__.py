"""The cost of a step: computed from the net's table, read from the program, or measured."""
