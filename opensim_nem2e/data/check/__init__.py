"""The check of a table of trials: what is wrong with recordings and simulations, seen from their files."""
