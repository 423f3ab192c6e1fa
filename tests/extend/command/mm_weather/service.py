"""Knows how warm it is, as well as the length of a name tells."""

from typing import Any

from mmplatform.plugins.service import Service, ServiceHost


class Weather(Service):
    async def start(self, host: ServiceHost) -> None:
        self._messaging = host.messaging
        self._messaging.on("self.weather.get", self._get)

    async def stop(self) -> None:
        self._messaging.off("self.weather.get", self._get)

    async def _get(self, topic: str, sender: str, place: Any) -> dict[str, Any]:
        return {"place": place, "degrees": len(place)}
