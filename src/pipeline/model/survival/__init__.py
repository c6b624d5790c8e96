"""Times to an event: LASSO-Cox, Rad-score, cut-off, Cox models, their validation."""
