"""Executed cells: noticed, told apart, tied to notebooks, given back."""
