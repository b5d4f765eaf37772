"""What every other part stands on: transitions, policies, files, random numbers, checks."""
