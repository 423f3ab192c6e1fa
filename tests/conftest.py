"""What holds for every test: how long one case of Hypothesis takes says how busy the machine is, nothing else."""

from hypothesis import settings

settings.register_profile("mm", deadline=None)
settings.load_profile("mm")
