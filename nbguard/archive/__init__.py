"""Store: spool, archive and the catalog over both."""
