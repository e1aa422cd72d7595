#!/usr/bin/env python3
"""A legacy program, reduced to what it does: a socket, HTTP/1.0, and a base URL with the number in it.

Saves the first document of an e-Box. Usage: http10.py [CBE number]
"""
import os
import re
import socket
import sys


def get(url):
    """GET over HTTP/1.0. The whole header is the request line."""
    host, port, path = re.fullmatch(r"http://([^/:]+):?(\d*)(/.*)", url).groups()
    with socket.create_connection((host, int(port or 80)), timeout=120) as s:
        s.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        answer = b"".join(iter(lambda: s.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"(?im)^content-length: *(\d+)", head)
    # The end of the connection is the end of the answer, or of the cable. Compare.
    if length and int(length[1]) != len(body):
        raise OSError("the answer was cut short")
    return int(head.split()[1]), body


base = os.environ.get("GATEWAY", "http://127.0.0.1:8080") + "/enterprises/" + (sys.argv[1:] or ["0206731645"])[0]
status, body = get(base + "/ebox/providers/nsso/ebox/messages?pageSize=1")
print("status", status)
if status != 200:
    sys.exit(body.decode())
link = re.search(rb'"contentHref":"([^"]+)"', body)[1].decode().replace("\\/", "/")
status, document = get(link)  # the link leads through the gateway, in the same form
if status != 200:
    sys.exit(f"status {status}: {document.decode()}")
print("document of", len(document), "bytes")
