"""Registration engines side by side: analytic lesions and real pairs, one table of results."""
