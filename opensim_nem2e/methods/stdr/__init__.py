"""methods/stdr."""
