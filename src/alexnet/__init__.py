"""AlexNet (Krizhevsky, Sutskever, Hinton 2012) in JAX: the paper's text and the authors' source."""
