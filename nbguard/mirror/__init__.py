"""Mirror: copies of the archive elsewhere."""
