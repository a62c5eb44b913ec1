"""Results: what runs came to, read from their folders or from JSON files."""
