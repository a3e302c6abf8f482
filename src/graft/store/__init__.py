"""Vectors and files on disk."""
