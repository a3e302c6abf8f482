"""Pretrained models: preprocess and forward."""
