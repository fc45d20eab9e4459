"""`python -m server` is the command `attachd`."""

from server.cli import main

# Guarded: a worker process imports this module again.
if __name__ == "__main__":
    main(prog_name="attachd")
