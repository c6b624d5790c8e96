"""Only what a study's yaml cannot say."""
