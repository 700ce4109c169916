"""The page: a run as it happens, in a browser. The server is a process of its own that follows the trace."""
