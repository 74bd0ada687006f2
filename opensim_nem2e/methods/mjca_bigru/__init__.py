"""PI-MJCA-BiGRU: joint moments, or muscle activations, from the motion of a leg alone."""
