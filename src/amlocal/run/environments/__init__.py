"""The Python that a step runs in: the caller's or one built for it, and an overlay that protects either."""
