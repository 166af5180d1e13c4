"""`python -m headwater` is the `headwater` command."""

from headwater.app.cli import main

main()
