"""Results for readers: claims, cards, and the report."""
