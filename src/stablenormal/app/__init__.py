"""What the user meets: the job behind a command, and the page that shows its result."""
