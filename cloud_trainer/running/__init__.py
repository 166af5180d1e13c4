"""Many small trainings at once: on processes of this machine, or on a Ray cluster, with the same results."""
