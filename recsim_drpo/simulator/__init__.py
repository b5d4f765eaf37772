"""The simulated world: items, users, rewards, sessions, and the agents that log in it."""
