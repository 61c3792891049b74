"""Online endpoints: scoring processes and the router before them."""
