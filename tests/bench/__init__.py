"""What scripts/bench measures, and how it is written down. A part of it is a module, or a function
of one, that is called with the Bench and says what it found to the report."""
