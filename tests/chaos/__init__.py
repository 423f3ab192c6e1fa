"""SIGKILLs and cuts at random points under load; run as ``python -m tests.chaos`` or ``make chaos``."""
