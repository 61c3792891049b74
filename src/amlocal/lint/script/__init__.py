"""What a command's script takes and logs, from its source alone: nothing here imports or runs it."""
