"""Self-contained pages for a study and for each subject: pictures first, then tables."""
