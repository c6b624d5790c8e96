"""Selection, classifiers, validation and statistics. Anything fitted sees training rows only."""
