#!/usr/bin/env python3
"""Lists the newest messages of one enterprise at one provider and saves the first document.

Python 3.8 or later, standard library only. Usage: ebox.py [CBE number]
"""
import json
import os
import sys
import tempfile
import time
import urllib.error
import urllib.request

GATEWAY = os.environ.get("GATEWAY", "http://127.0.0.1:8080")
PROVIDER = os.environ.get("PROVIDER", "nsso")
# The gateway is in the house: no proxy of the environment between us and it.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def call(url, number, tries=3):
    """GET url for an enterprise. What was not answered is asked again, so use it for reading only."""
    request = urllib.request.Request(url, headers={"On-Behalf-Of-Enterprise-Number": number, "X-Actor": "ebox.py"})
    for left in range(tries - 1, -1, -1):
        try:
            return OPENER.open(request, timeout=120)
        except urllib.error.HTTPError as answer:
            if left == 0 or answer.code not in (429, 502, 503, 504):
                raise
            wait = answer.headers.get("Retry-After", "")
            time.sleep(min(int(wait) if wait.isdigit() else 1, 60))


def explain(answer):
    """Say what is wrong, and by whose word: only the gateway's own problems have error= in Proxy-Status."""
    author = "gateway" if "error=" in (answer.headers.get("Proxy-Status") or "") else "upstream"
    print(f"status {answer.code}, said by the {author}; request {answer.headers['X-Request-Id']}")
    print(answer.read().decode())


def main():
    number = sys.argv[1] if len(sys.argv) > 1 else "0206731645"
    try:
        with call(f"{GATEWAY}/ebox/providers/{PROVIDER}/ebox/messages?pageSize=3", number) as answer:
            messages = json.load(answer)["items"]
    except urllib.error.HTTPError as answer:
        explain(answer)
        return 1
    for message in messages:
        print("message", message["messageId"])

    # Fetching a document marks it read, so it is never repeated once sent. read()
    # raises IncompleteRead if the answer is cut short.
    link = messages[0]["attachments"]["items"][0]["contentHref"]
    with tempfile.TemporaryFile() as file, call(link, number, tries=1) as answer:
        expected = answer.headers.get("Content-Length")
        while piece := answer.read(64 << 10):
            file.write(piece)
        if expected is not None and file.tell() != int(expected):
            raise OSError("the document was cut short")
        print(f"document of {file.tell()} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
