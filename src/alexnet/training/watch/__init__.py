"""What is watched while a run trains: its losses, its health, its memory, and that it goes on."""
