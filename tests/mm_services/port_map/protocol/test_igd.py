"""UPnP: what miniupnpd answers, and that whatever answers, nobody but the router is asked for anything."""

import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_services.port_map.protocol import igd
from mmplatform.errors import ProtocolError

ROUTER = "10.78.1.1"
FOUND = b"HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=120\r\nLOCATION: %s\r\nEXT:\r\n\r\n"
SERVICE = b"<service><serviceType>urn:schemas-upnp-org:service:%s</serviceType><controlURL>%s</controlURL></service>"
OTHER = SERVICE % (b"Layer3Forwarding:1", b"/ctl/L3F")


def test_where_the_description_is() -> None:
    assert igd.read_location(FOUND % b"http://10.78.1.1:34663/rootDesc.xml", ROUTER) == (34663, "/rootDesc.xml")
    assert igd.read_location(FOUND % b"http://10.78.1.1", ROUTER) == (80, "/")


@pytest.mark.parametrize(
    "url",
    [
        b"http://169.254.169.254/latest", b"http://10.78.1.2/", b"https://10.78.1.1/", b"http://10.78.1.1@evil.example/",
        b"http://localhost/", b"file:///etc/passwd", b"http://[::1", b"http://10.78.1.1:99999/", b"",
    ],
)  # fmt: skip
def test_no_other_host_is_asked_than_the_router(url: bytes) -> None:
    with pytest.raises(ProtocolError):
        igd.read_location(FOUND % url, ROUTER)
    service = SERVICE % (b"WANIPConnection:1", url)
    if b"://" in url:
        with pytest.raises(ProtocolError):
            igd.read_control(service, 80, ROUTER)


@pytest.mark.parametrize("kind", [b"WANIPConnection:1", b"WANIPConnection:2", b"WANPPPConnection:1"])
@pytest.mark.parametrize("url", [b"/ctl/IPConn", b"ctl/IPConn", b"http://10.78.1.1:5000/ctl/IPConn"])
def test_who_takes_orders(kind: bytes, url: bytes) -> None:
    control = igd.read_control(OTHER + SERVICE % (kind, url), 5000, ROUTER)
    assert control == (5000, "/ctl/IPConn", f"urn:schemas-upnp-org:service:{kind.decode()}")


def test_a_router_that_maps_no_ports() -> None:
    with pytest.raises(ProtocolError, match="maps no ports"):
        igd.read_control(OTHER, 80, ROUTER)


def test_an_order() -> None:
    control = igd.Control(5000, "/ctl", "urn:x")
    head, _, body = igd.order(control, ROUTER, "AddPortMapping", NewPort=7, NewText="<&>").partition(b"\r\n\r\n")
    assert b'SOAPAction: "urn:x#AddPortMapping"' in head
    assert f"Content-Length: {len(body)}".encode() in head
    assert b"<NewPort>7</NewPort><NewText>&lt;&amp;&gt;</NewText>" in body


def test_answers() -> None:
    said = b"<NewExternalIPAddress>11.77.0.1</NewExternalIPAddress>"
    assert str(igd.read_outside(igd.read_page(b"HTTP/1.1 200 OK\r\n\r\n" + said))) == "11.77.0.1"
    with pytest.raises(ProtocolError) as declined:
        igd.read_page(b"HTTP/1.1 500 no\r\n\r\n<errorCode>725</errorCode>")
    assert declined.value.reason == igd.ONLY_PERMANENT
    for body in (b"", b"<NewExternalIPAddress>999.1.1.1</NewExternalIPAddress>"):
        with pytest.raises(ProtocolError, match="outside address"):
            igd.read_outside(body)
    with pytest.raises(ProtocolError, match="does not speak HTTP"):
        igd.read_page(b"SSH-2.0")


@given(st.binary(max_size=200))
def test_nothing_else_escapes(said: bytes) -> None:
    for read in (
        lambda: igd.read_location(said, ROUTER),
        lambda: igd.read_location(FOUND % said, ROUTER),
        lambda: igd.read_control(SERVICE % (b"WANIPConnection:1", said), 80, ROUTER),
        lambda: igd.read_page(said),
        lambda: igd.read_outside(said),
    ):
        with suppress(ProtocolError):
            read()


def test_only_what_has_an_end_is_a_service() -> None:
    good = SERVICE % (b"WANIPConnection:1", b"/ctl")
    assert igd.read_control(b"<service>" + good + b"<service>", 80, ROUTER).path == "/ctl"
    with pytest.raises(ProtocolError, match="maps no ports"):
        igd.read_control(good.removesuffix(b"</service>"), 80, ROUTER)


def test_services_without_end_do_not_stop_the_loop() -> None:
    began = time.process_time()
    with pytest.raises(ProtocolError):
        igd.read_control((b"<service>" * igd.MOST)[: igd.MOST], 80, ROUTER)
    assert time.process_time() - began < 0.1


@pytest.mark.parametrize(
    "piece", [b"<service>", b"<service><serviceType>", b"<NewExternalIPAddress ", b"LOCATION: \r\n"]
)
def test_no_answer_takes_long_to_read(piece: bytes) -> None:
    said = (piece * igd.MOST)[: igd.MOST]
    began = time.process_time()
    for read in (lambda: igd.read_control(said, 80, ROUTER), lambda: igd.read_outside(said)):
        with pytest.raises(ProtocolError):
            read()
    with pytest.raises(ProtocolError):
        igd.read_location(said, ROUTER)
    assert time.process_time() - began < 1.0
