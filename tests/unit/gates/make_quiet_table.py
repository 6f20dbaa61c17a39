#!/usr/bin/python3
"""Writes quiet_table.h: when quiet hours begin and end about changes of the clocks, by Python's zoneinfo.

A window begins and ends at the first minute at which the local clock shows or has passed its time, found here by walking through
the minutes one by one. Run it again after a change of ZONES or WINDOWS: python3 make_quiet_table.py > quiet_table.h
"""
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

ZONES = {  # zone: days (UTC noon) about which to look
    "Europe/Berlin": ["2025-03-30", "2025-10-26", "2026-07-04"],
    "America/New_York": ["2026-03-08", "2026-11-01"],
    "Australia/Lord_Howe": ["2026-04-05", "2026-10-04"],  # half an hour
    "Asia/Shanghai": ["2026-02-17"],
    "America/Sao_Paulo": ["2018-11-04"],  # midnight itself is skipped
    "Asia/Beirut": ["2025-10-26"],  # back over midnight
    "Pacific/Apia": ["2011-12-30"],  # a whole day is skipped
}
WINDOWS = ["22:00-08:00", "02:15-02:45", "00:00-24:00", "01:30-02:30", "23:30-00:30", "02:00-03:00", "12:00-12:00"]
NAMES = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


def minutes(text):
    h, m = text.split(":")
    return int(h) * 60 + int(m)


def first_instant(zone, local, cache):
    """The first minute whose local reading is at or past `local`, walking from well before it."""
    key = (zone.key, local)
    if key not in cache:
        t = (local - timedelta(hours=40)).replace(tzinfo=timezone.utc)
        while t.astimezone(zone).replace(tzinfo=None) < local:
            t += timedelta(minutes=1)
        cache[key] = t
    return cache[key]


def main():
    cache = {}
    print("/* Made by make_quiet_table.py. Zone, window, day it begins on, begin and end in s. */")
    for name, days in ZONES.items():
        zone = ZoneInfo(name)
        for day in days:
            about = datetime.fromisoformat(day)
            for w in WINDOWS:
                a, b = map(minutes, w.split("-"))
                for d in range(-2, 3):
                    date = about + timedelta(days=d)
                    begin = first_instant(zone, date + timedelta(minutes=a), cache)
                    end = first_instant(zone, date + timedelta(days=b <= a, minutes=b), cache)
                    print('{"%s", "%s", "%s", %d, %d},' % (name, w, NAMES[date.weekday()], begin.timestamp(), end.timestamp()))


main()
