"""What is left of a notebook, from every source on this machine; one small module for each source."""
