"""Over a link that is slow, long, stalls and breaks: ours beside others."""
