"""Where images come from: TFDS, two builders of this project, and folders of your own."""
