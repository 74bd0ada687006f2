"""What a method says of one trial: applied, checked, made consistent with joint torques, written, compared with EMG."""
