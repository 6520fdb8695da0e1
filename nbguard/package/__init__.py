"""Package: everything that was kept, in one zip that a person can open without nbguard."""
