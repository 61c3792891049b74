"""What can be wrong with rows of texts and labels, and what prep does about it."""
