"""NMM: the EMG of muscles that nobody measured, from measured channels, mechanics and other subjects (Kumar 2025)."""
