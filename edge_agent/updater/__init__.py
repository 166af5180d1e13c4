"""The updater: follows signed rollouts, fetches and tries models, and says in desired.json which one should run."""
