"""Everything that estimates muscle activity, behind one protocol; its registry, and the bundle of what was learned."""
