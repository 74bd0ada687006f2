"""
Refine a CMC result
===================

The shipped example is a walk of a model with 24 muscles that CMC has simulated. The shipped networks refine it.
"""

# %%
# States and model as CMC left them, and the ground reactions, in which the heel strikes are found. Results go to a
# folder; those of a real study would stay.
