"""Vouch: facts about protection, and the verdict they add up to."""
