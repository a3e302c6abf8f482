"""Recommenders from first to last: which model is worth it on these likes, kept in a folder, opened again, asked."""
