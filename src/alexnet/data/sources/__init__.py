"""Where images come from: TFDS, three builders of this project, and your own folders."""
