"""Section 3: networks as tables of rows, the operations, and the interpreter of both."""
