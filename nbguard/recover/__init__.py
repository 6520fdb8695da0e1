"""Return: choosing, showing and restoring versions."""
