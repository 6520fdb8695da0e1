"""Measurements, side by side with the floor and with other tools: `python -m bench --help`."""
