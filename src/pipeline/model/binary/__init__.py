"""A 0/1 outcome from a table: two logistic models and boosted trees on the same folds."""
