"""Graft takes a pretrained model the rest of the way."""
