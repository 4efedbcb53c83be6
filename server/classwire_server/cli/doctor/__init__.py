"""`classwire doctor`: the machine, and the server's choices on it."""
