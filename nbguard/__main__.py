"""`python -m nbguard`."""

from nbguard.cli.start import run

if __name__ == "__main__":
    run()
