"""Where the lesion is: spatial fuzzy C-means round a seed, and what is done with the region."""
