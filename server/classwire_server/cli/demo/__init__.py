"""`classwire demo`: what the server does with texts, on a server of its own."""
