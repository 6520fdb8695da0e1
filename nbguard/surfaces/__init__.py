"""Speak up: surfaces that need no transport and nothing else of nbguard; a heartbeat that is not fresh is enough."""
