"""Stores, carries and forwards: bundles between people and devices that are never online together.

The way of a bundle, file by file. Out: ``service.py`` ``Messenger.send`` (``deposit`` for mail of the platform) makes
one (``protocol/header.py``, ``protocol/content.py``), ``carrier.py`` ``Carrier.post`` keeps it (``store/``), each
``protocol/meeting.py`` ``Meeting`` offers it over the line in ``exchange.py``; ``neighbourhood.py`` chooses whom to
meet. In: ``answering.py`` ``Answering`` hears what others ask, ``Carrier.offered`` takes it in, ``handling.py``
``Handling`` calls handlers, ``receipting.py`` tells the sender.
"""
