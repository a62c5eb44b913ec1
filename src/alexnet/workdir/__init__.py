"""What a run leaves behind, and to whom it belongs."""
