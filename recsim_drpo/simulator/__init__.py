"""The simulated world: items, users, rewards, sessions, and who logs in it."""
