"""`python -m nbguard`."""

from nbguard.cli.main import run

if __name__ == "__main__":
    run()
