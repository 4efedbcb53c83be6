"""Streams: their state without IO, and the drivers for threads and for asyncio."""
