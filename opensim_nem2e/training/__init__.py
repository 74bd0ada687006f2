"""Trains any PyTorch module with named loss terms: one or many, with checkpoints, in processes or on a cluster."""
