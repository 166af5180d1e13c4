"""What MirrorMaker 2 would do and say, done and said by a link: its names, its records, its settings."""
