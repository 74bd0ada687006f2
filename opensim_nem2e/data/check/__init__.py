"""The manifest's doctor: what is wrong with recordings and simulations, seen from their files."""
