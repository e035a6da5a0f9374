"""What is checked before and after a training: memory, gradients, isolation."""
