"""The bundles of a carrier on its disk: one file each, a journal of what else is known, and quotas."""
