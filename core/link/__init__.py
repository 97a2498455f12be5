"""The window: what crosses the engine's socket, its server and its clients.

Light on purpose (msgspec and asyncio alone): every command and every terminal imports it.
"""
