"""The amlocal command line."""
