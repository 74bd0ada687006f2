"""
Refine a CMC result
===================

The shipped example is a walk that CMC has simulated. The shipped networks refine its activations, and the tool makes
them agree with the joint torques.
"""
