"""Tell: incidents, channels, and the proof that a human reads them."""
