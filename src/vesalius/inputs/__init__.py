"""Models of any kind as callables on tensors, and the ways in which rows may be meant as their inputs."""
