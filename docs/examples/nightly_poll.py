#!/usr/bin/env python3
"""Polls every e-Box of a list once a night, and goes on where it stopped.

For each enterprise and each provider it asks for the messages since the last night
and keeps what is new in a SQLite file. Documents are not fetched: that would mark
them read. A box is done when all its pages are there, in one transaction, so that
after an outage, a reboot or Ctrl-C the same command asks only for what is missing.

    nightly_poll.py --enterprises customers.csv --database boxes.sqlite

Exit code 0: all boxes were asked. 75: some are left, start it again later (systemd:
Restart=on-failure, RestartSec=5min). Python 3.9 or later, standard library only.

Give the program a caller of its own in config.yaml:

    callers:
      - {name: nightly, networks: [10.2.0.7], class: batch, wait: 1m, may: [list]}

A batch caller is paced instead of refused and leaves room for the others, so that
the threads here need no rate of their own.
"""
import argparse
import concurrent.futures
import csv
import datetime
import json
import re
import sqlite3
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

# Registries of version 2 know days, not hours, and messages can be entered a little
# after their receipt date: look two days back, and let their ids tell what is known.
OVERLAP = datetime.timedelta(days=2)
PASSING = (408, 429, 500, 502, 503, 504)
TRIES = 3
GIVEN_UP = 20  # boxes in a row: then the provider is left for the next run
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))

SCHEMA = """
CREATE TABLE IF NOT EXISTS message (enterprise TEXT, provider TEXT, id TEXT, received TEXT, entry TEXT, PRIMARY KEY (enterprise, provider, id));
CREATE TABLE IF NOT EXISTS box (enterprise TEXT, provider TEXT, until TEXT, night TEXT, refused TEXT, PRIMARY KEY (enterprise, provider));
"""


class Refused(Exception):
    """This e-Box may not be read (403) or is not there (404): a matter for its mandate."""


class Away(Exception):
    """No answer for now."""


def get(url):
    """GET a JSON document, patiently."""
    request = urllib.request.Request(url, headers={"Accept": "application/json", "X-Actor": "nightly_poll"})
    for left in range(TRIES - 1, -1, -1):
        wait = 2.0
        try:
            with OPENER.open(request, timeout=180) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as answer:
            reason = f"{answer.code}, request {answer.headers.get('X-Request-Id')}"
            if answer.code in (403, 404):
                raise Refused(reason) from None
            if answer.code not in PASSING:
                raise SystemExit(f"{url}: {reason}: {answer.read().decode(errors='replace')}") from None
            after = answer.headers.get("Retry-After", "")
            if after.isdigit():
                wait = min(float(after), 60.0)
        except (OSError, ValueError) as failure:  # no connection, cut short, no JSON
            reason = str(failure)
        if left:
            time.sleep(wait)
    raise Away(reason)


class Poll:
    def __init__(self, gateway, database, night):
        self.gateway, self.night = gateway, night
        self.db = sqlite3.connect(database, check_same_thread=False)
        # Whole after a crash, with the last boxes missing at worst: they are asked again.
        self.db.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;" + SCHEMA)
        self.lock = threading.Lock()
        self.away = {}  # provider: boxes in a row without an answer
        self.count = {"done": 0, "new": 0, "refused": 0, "left": 0}
        self.began = self.told = time.monotonic()

    def providers(self):
        """The providers that can be called now. One in maintenance is for the next run."""
        listed = get(self.gateway + "/ebox/providers")
        items = listed["items"] if isinstance(listed, dict) else listed
        return [p["providerId"] for p in items if p["state"] == "active"]

    def open_boxes(self, enterprises, providers):
        done = set(self.db.execute("SELECT enterprise, provider FROM box WHERE night = ?", (self.night,)))
        return [(e, p) for e in enterprises for p in providers if (e, p) not in done]

    def poll(self, box):
        enterprise, provider = box
        with self.lock:
            if self.away.get(provider, 0) >= GIVEN_UP:
                self.count["left"] += 1
                return
            row = self.db.execute("SELECT until FROM box WHERE enterprise = ? AND provider = ?", box).fetchone()
        now = datetime.datetime.now(datetime.timezone.utc)
        query = {"pageSize": "100"}
        if row and row[0]:
            query["receivedAfter"] = (datetime.datetime.fromisoformat(row[0]) - OVERLAP).date().isoformat()
        url = f"{self.gateway}/enterprises/{enterprise}/ebox/providers/{urllib.parse.quote(provider)}/ebox/messages?" + urllib.parse.urlencode(query)
        entries, refused = [], None
        try:
            while url:
                page = get(url)
                entries += page["items"]
                # Two forms of a page are in use: the Belgif guide's plain link, and HAL.
                url = page.get("next") or page.get("_links", {}).get("next", {}).get("href")
        except Refused as reason:
            refused = str(reason)
        except Away as reason:
            with self.lock:
                self.away[provider] = self.away.get(provider, 0) + 1
                self.count["left"] += 1
            print(f"{enterprise} at {provider}: no answer: {reason}", file=sys.stderr)
            return
        self.keep(box, entries, now, refused)

    def tell(self, asked, total):
        """How far it is: on a terminal each second, elsewhere a line a minute."""
        now, terminal = time.monotonic(), sys.stderr.isatty()
        if now - self.told < (1 if terminal else 60):
            return
        self.told, rate = now, asked / (now - self.began)
        left = datetime.timedelta(seconds=round((total - asked) / rate))
        line = f"{asked} of {total} boxes asked, {total - asked} left, {rate:.1f}/s, {left} to go"
        print(f"\r{line}\x1b[K" if terminal else line, end="" if terminal else "\n", file=sys.stderr, flush=True)

    def keep(self, box, entries, now, refused):
        """Everything of one box, or nothing."""
        with self.lock, self.db:
            self.away[box[1]] = 0
            for entry in entries:
                added = self.db.execute("INSERT OR IGNORE INTO message VALUES (?, ?, ?, ?, ?)",
                                        (*box, entry["messageId"], entry.get("publicationDate") or entry["receiptDate"], json.dumps(entry)))
                self.count["new"] += added.rowcount
            # A refusal leaves the mark where it was: once the mandate is there, nothing is missing.
            self.db.execute("""INSERT INTO box VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
                               until = coalesce(excluded.until, until), night = excluded.night, refused = excluded.refused""",
                            (*box, None if refused else now.isoformat(), self.night, refused))
            self.count["refused" if refused else "done"] += 1


def read_enterprises(path):
    """The numbers of a CSV with a column number, or of a file with one number a line."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        text = file.read().lstrip("\r\n ")
    first = text.partition("\n")[0]
    if "number" in first.lower():
        delimiter = ";" if first.count(";") > first.count(",") else ","
        numbers = [row["number"] for row in csv.DictReader(text.splitlines(), delimiter=delimiter)]
    else:
        numbers = [line.partition("#")[0] for line in text.splitlines()]
    digits = {}
    for number in filter(None, map(str.strip, filter(None, numbers))):
        ten = re.sub(r"\D", "", number).zfill(10)
        if re.fullmatch("[01][0-9]{9}", ten) and 97 - int(ten[:8]) % 97 == int(ten[8:]):
            digits[ten] = None
        else:  # one bad row is no reason to leave the others
            print(f"{number} is no enterprise number: it is left out", file=sys.stderr)
    return list(digits)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--gateway", default="http://127.0.0.1:8080")
    arguments.add_argument("--enterprises", required=True)
    arguments.add_argument("--database", required=True)
    arguments.add_argument("--threads", type=int, default=8)
    arguments.add_argument("--night", default=(datetime.datetime.now() - datetime.timedelta(hours=12)).date().isoformat(),
                           help="what this run belongs to; the default changes at noon")
    a = arguments.parse_args()
    run = Poll(a.gateway, a.database, a.night)
    try:
        providers = run.providers()
    except (Away, Refused) as reason:
        print(f"the gateway does not say which providers there are: {reason}", file=sys.stderr)
        return 75
    boxes = run.open_boxes(read_enterprises(a.enterprises), providers)
    print(f"night {a.night}: {len(boxes)} boxes to ask at {', '.join(providers)}")
    with concurrent.futures.ThreadPoolExecutor(a.threads) as pool:
        try:
            for asked, _ in enumerate(pool.map(run.poll, boxes), 1):
                run.tell(asked, len(boxes))
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            return 75
    print(", ".join(f"{n} {what}" for what, n in run.count.items()))
    return 75 if run.count["left"] else 0


if __name__ == "__main__":
    sys.exit(main())
