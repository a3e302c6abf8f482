"""Advice before anything is trained: what the data and the machine allow, and which strategy or encoder to take."""
