"""Find anyone: a Kademlia DHT of signed records. service.py has the service, commands.py ``mm dht``."""
