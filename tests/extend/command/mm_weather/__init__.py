"""How warm it is: a service that knows, and ``mm weather`` that asks it. Nothing here is imported before it is used."""
