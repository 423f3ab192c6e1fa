"""RMB beside a node: directory.py keeps records of twins for others, commands.py has ``mm rmb``."""
