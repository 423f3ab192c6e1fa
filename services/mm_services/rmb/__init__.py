"""RMB beside a node: a directory of twins (directory.py), a twin that asks and answers (twin.py), ``mm rmb``."""
