"""The composition root: the `headwater` command, the local stack, the demo, the doctor."""
