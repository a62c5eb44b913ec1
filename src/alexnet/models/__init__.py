"""Section 3: networks as tables of rows, their operations, and the module that runs a table."""
