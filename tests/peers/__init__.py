"""Libraries that ours is compared with, where importing them takes more than ``import``."""
