"""Install: setting up, and running in the background."""
