"""What knows about muscles: activation dynamics, and OpenSim itself (the only part that imports it)."""
