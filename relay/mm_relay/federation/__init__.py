"""The links to other relays, and the mail that is on its way to them."""
