"""Files that other frameworks write or read: one module for each format."""
