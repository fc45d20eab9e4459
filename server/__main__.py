"""`python -m server` is the command `attachd`."""

from server.cli import main

main()
