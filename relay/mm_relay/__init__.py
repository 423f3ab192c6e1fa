"""The relay (mm relay): doors, router, mailboxes and federation. Nodes reach it with mm_transports.relay."""
