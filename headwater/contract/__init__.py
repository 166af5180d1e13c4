"""The words: pure functions and frozen values that edge and cloud share. No I/O."""
