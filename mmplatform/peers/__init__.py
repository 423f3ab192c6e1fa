"""One remote peer: its links, which of them is in use, and what is said over them."""
