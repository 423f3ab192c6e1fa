"""Who is where: signed records, names, hints without proof, and look-ups."""
