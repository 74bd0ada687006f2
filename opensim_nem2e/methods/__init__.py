"""Everything that estimates muscle activity behind one protocol, the registry of it, and the bundle that keeps what was learned."""
