"""What a log tells: its features, rules of thumb, and where it lies on the phase map."""
