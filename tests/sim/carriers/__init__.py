"""Carriers of the messenger in virtual time: rings, zones and mules of many, each with a store on the disk."""
