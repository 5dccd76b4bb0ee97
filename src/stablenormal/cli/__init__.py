"""The `stablenormal` command, one file a sub-command. Heavy imports stay inside the commands."""
