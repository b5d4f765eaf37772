"""Reading logs that no simulator made."""
