"""Architectures: plain ``torch.nn`` modules that know nothing of the rest of the library."""
