"""What a step costs, computed from its table or read from its program."""
