"""What the experiments share: conditions, studies, records, verdicts."""
