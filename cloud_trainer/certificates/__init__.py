"""Proof that every runtime of the fleet computes what training computed: one certificate each, before publishing."""
