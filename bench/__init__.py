"""Benchmarks: stock tools and ours on the same services in the same run, with their work checked before a ratio."""
