"""The commands of mm, one file a group."""
