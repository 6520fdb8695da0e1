"""Take: from a notice to a durable draft."""
