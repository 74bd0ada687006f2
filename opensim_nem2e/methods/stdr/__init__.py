"""STDR-Net, the sequence-to-sequence network of the NEM2E paper: its options, training, calibration and use."""
