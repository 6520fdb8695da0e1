"""Notice: what tells us that a notebook may have changed."""
