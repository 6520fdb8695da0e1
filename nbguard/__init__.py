"""nbguard: a time machine for Jupyter notebooks that proves it is working."""

__version__ = "0.1.0"
