"""The parts that experiments share: settings, conditions, studies, records and verdicts."""
