"""From files or a hub data set to tokenised splits with a manifest."""
