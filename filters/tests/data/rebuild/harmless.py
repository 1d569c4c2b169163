"""Ordinary text without personal data and secrets: excerpts of public packages, and generated logs and lists."""

import hashlib
import ipaddress
import random
import re
import string
import subprocess
import tarfile
import uuid
import zipfile
from pathlib import Path

from rows import Text, held_out

# Archive, what of it, licence. All may be kept in excerpts.
CRATES = ["regex-syntax-0.8.12", "chrono-0.4.45", "jiff-0.2.46", "syn-2.0.119", "tokio-1.54.1", "hyper-1.12.0", "rand-0.8.8", "num-bigint-0.4.8", "num-traits-0.2.19", "sha2-0.10.9",
          "blake3-1.8.7", "crc-catalog-2.5.0", "petgraph-0.8.1", "nix-0.31.4", "libc-0.2.191", "x509-parser-0.18.1", "ring-0.17.14", "uuid-1.29.3", "time-0.3.55", "url-2.5.8", "clap_builder-4.6.7",
          "serde_json-1.0.154", "sqlx-core-0.9.0", "tracing-subscriber-0.3.23", "axum-0.8.9", "httparse-1.10.1", "itertools-0.13.0", "memchr-2.8.3", "unicode-normalization-0.1.26", "zstd-0.13.5"]
WHEELS = ["sympy-1.12.1", "networkx-3.3", "scikit_learn-1.5.0", "numpy-1.26.4", "pandas-2.2.2", "Django-5.0.6", "rich-13.7.1"]
PACKS = ["bootstrap-5.3.3", "feather-icons-4.29.2", "lodash-4.17.21", "d3-7.9.0", "three-0.160.0", "react-dom-18.3.1"]
KEEP = re.compile(r"\.(rs|py|pyi|md|toml|txt|rst|css|scss|svg|js|ts|json|c|h|S|pl|html|lock|yml)$|Cargo\.lock$|CHANGELOG|README")
PER_ARCHIVE = 150

# What could be a value in somebody's eyes: such excerpts are left out, whatever our rules say of them.
DOUBTFUL = re.compile(
    r"\w[@＠][A-Za-z][\w-]*\.[A-Za-z]"  # addresses
    r"|://[^/\s]*@"
    r"|\b4111|5555555555554444|378282246310005"
    r"|eyJ|PRIVATE KEY|AKIA|gh[ps]_\w|sk[-_]live"
    r"|(?i:passw(or)?d|secret|token|api_?key|pwd)\w*[\"']?\s*[:=]+>?\s*[\"'`][^\"'`]*\d"
    r"|(?i:\btel:|phone|ssn\b|iban)"
    r"|\+\d[\d ()-]{8,}"
    r"|\bBearer |\bBasic [A-Za-z0-9+/]{8,}"
)
QUAD = re.compile(r"(?<![\d.])(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})(?![\d.]*\d)(:\d|/\d)?")
COLONS = re.compile(r"[0-9A-Fa-f:.]*::[0-9A-Fa-f:.]*|(?:[0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4}")


def doubtful(text):
    if DOUBTFUL.search(text):
        return True
    for quad in QUAD.finditer(text):
        octets = [int(part) for part in quad.groups()[:4]]
        known = octets[0] in (0, 10, 127, 255) or octets[:2] in ([192, 168], [169, 254]) or octets[0] == 172 and 16 <= octets[1] < 32 or octets[0] >= 224
        known |= octets in ([1, 1, 1, 1], [8, 8, 8, 8]) or octets[:3] in ([192, 0, 2], [198, 51, 100], [203, 0, 113]) or quad.group(5) is not None
        if max(octets) < 256 and known:
            return True
    for word in COLONS.findall(text):
        try:
            ipaddress.IPv6Address(word.strip("."))
        except ValueError:
            continue
        if any(len(group) > 2 for group in word.split(":")) and re.search(r"\d", word) or word.startswith(("::1", "fe80", "::ffff")):
            return True
    return False


def files(archive):
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as zipped:
            for name in sorted(zipped.namelist()):
                if KEEP.search(name) and zipped.getinfo(name).file_size < 2_000_000:
                    yield name, zipped.read(name)
    else:
        with tarfile.open(archive) as tar:
            for member in sorted(tar.getmembers(), key=lambda m: m.name):
                if member.isfile() and KEEP.search(member.name) and member.size < 2_000_000:
                    yield member.name, tar.extractfile(member).read()


def excerpts(rng, archive, count):
    """Runs of one to six lines, long lines cut."""
    pool = []
    for name, data in files(archive):
        try:
            lines = data.decode().splitlines()
        except UnicodeDecodeError:
            continue
        for _ in range(1 + len(lines) // 60):
            at = rng.randrange(max(1, len(lines)))
            text = "\n".join(line[:300] for line in lines[at:at + rng.choice([1, 1, 2, 3, 6])]).strip("\n")
            digits = len(re.findall(r"\d", text))
            # Numbers are what is mistaken: texts with many are taken more often.
            if 20 <= len(text) <= 700 and rng.random() < 0.15 + digits / 30:
                pool.append((name, text))
    rng.shuffle(pool)
    texts = [(name, text) for name, text in pool if not doubtful(text)]
    return texts[:count]


def packaged(rng, crates, wheels, packs):
    archives = [crates / f"{name}.crate" for name in CRATES] + [next(wheels.glob(f"{name}-*.whl")) for name in WHEELS] + [packs / f"{name}.tgz" for name in PACKS]
    for archive in archives:
        part = "held_out" if held_out(archive.name.split("-cp")[0]) else "seen"
        count = PER_ARCHIVE * (2 if archive.suffix != ".crate" else 1)
        for name, text in excerpts(rng, archive, count):
            yield Text().add(text).row(f"{archive.name.removesuffix('.crate').removesuffix('.tgz').split('-py3')[0].split('-cp3')[0]}:{name.split('/')[-1]}", part=part, set="harmless")


def locks(rng, paths, repository):
    for path in paths:
        lines = Path(path).read_text().splitlines()
        yield from blocks(rng, lines, Path(path).name, 350)
    sums = subprocess.run(["git", "-C", repository, "show", "HEAD:go.sum"], check=True, capture_output=True, text=True).stdout.splitlines()
    yield from blocks(rng, sums, "go.sum", 150)
    log = subprocess.run(["git", "-C", repository, "log", "--stat", "-400", "--format=commit %H%nDate:   %ad%n%n    %s%n", "--date=default"], check=True, capture_output=True, text=True).stdout
    yield from blocks(rng, log.splitlines(), "git log", 200)


def blocks(rng, lines, source, count):
    starts = rng.sample(range(len(lines)), min(count, len(lines)))
    for start in starts:
        text = "\n".join(line[:300] for line in lines[start:start + rng.choice([1, 2, 4, 8])])
        if len(text) >= 15 and not doubtful(text):
            yield Text().add(text).row(source, set="harmless")


def generated(rng):
    words = ["billing", "worker", "scheduler", "DataNode", "ingest", "api", "cache", "replica", "gateway", "mapper"]
    hexes = lambda n: "".join(rng.choice("0123456789abcdef") for _ in range(n))
    ident = lambda n: str(rng.randint(10 ** (n - 1), 10 ** n - 1))
    stamp = lambda: f"20{rng.randint(10, 29)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"
    clock = lambda: f"{rng.randint(0, 23):02}:{rng.randint(0, 59):02}:{rng.randint(0, 59):02}"
    epoch = lambda: str(rng.randint(1_000_000_000, 1_999_999_999))
    isbn10 = lambda: (lambda d: d + "0123456789X"[(11 - sum(int(c) * w for c, w in zip(d, range(10, 1, -1))) % 11) % 11])(ident(9))
    ean = lambda p: (lambda d: d + str(-sum(int(c) * (3 if i % 2 else 1) for i, c in enumerate(d)) % 10))(p + ident(12 - len(p)))
    luhn = lambda d: d + str(-sum(sum(divmod(int(c) * (2 - i % 2), 10)) for i, c in enumerate(reversed(d))) % 10)
    level = lambda: rng.choice(["INFO", "WARN", "ERROR", "DEBUG"])
    name = lambda: rng.choice(words)
    number = lambda top=9999: rng.randint(0, top)
    makers = {
        "log": lambda: f"{stamp()} {clock()},{number(999):03} {level()} org.corp.{name()}.{name().title()}: took {number()} ms, size {number(10**9)}, thread {number(500)}",
        "log epoch": lambda: f"{epoch()} {ident(4)} {level()} {name()}[{ident(5)}]: ts={epoch()}{number(999):03} seq={ident(rng.choice([9, 10, 11]))} ok",
        "log hdfs": lambda: f"{ident(6)} {ident(6)} {ident(2)} INFO dfs.DataNode$PacketResponder: Received block blk_{rng.choice(['', '-'])}{ident(19)} of size {ident(8)}",
        "log kernel": lambda: f"[{number(99999):5}.{ident(6)}] usb {number(9)}-{number(9)}: new device number {number(99)}, pid {ident(10)}, addr 0x{hexes(16)}",
        "log metrics": lambda: f"{name()}_requests_total{{code=\"{rng.choice([200, 404, 500])}\",shard=\"{number()}\"}} {number(10**7)} {epoch()}{number(999):03}",
        "log k8s": lambda: f"{stamp()}T{clock()}.{ident(9)}Z {name()}-{hexes(9)}-{hexes(5)} container={hexes(64)} restart={number(9)}",
        "log gc": lambda: f"{clock()}.{ident(3)}+0000: {number(999)}.{ident(3)}: [GC (Allocation Failure) {ident(6)}K->{ident(5)}K({ident(7)}K), 0.{ident(7)} secs]",
        "stack trace": lambda: f"java.lang.IllegalStateException: id {ident(10)} is gone\n\tat org.corp.{name()}.Main.run(Main.java:{number(999)})\n\tat jdk.internal@17.0.{number(9)}/Thread.run(Thread.java:{number(999)})",
        "stack trace c": lambda: f"#{number(30)}  0x{hexes(16)} in {name()}::run(this=0x{hexes(12)}, id={ident(10)}) at {name()}.cpp:{number()}:{number(99)}",
        "isbn": lambda: f"{rng.choice(['ISBN', 'ISBN-10', 'ISBN:', 'isbn'])} {isbn10()}",
        "isbn bare": lambda: f"{name().title()}, 2nd edition, {isbn10()}, {number(999)} pages",
        "isbn13": lambda: (lambda d: f"ISBN {d[:3]}-{d[3]}-{d[4:7]}-{d[7:12]}-{d[12]}")(ean("978")),
        "ean": lambda: f"{name()},{ean(rng.choice(['4', '50', '4006', '36', '30']))},{number(99)}.{number(99):02} EUR",
        "order": lambda: f"Order #{ident(rng.choice([8, 9, 10, 12]))} shipped, tracking 1Z{''.join(rng.choice(string.ascii_uppercase + string.digits) for _ in range(16))}",
        "invoice": lambda: f"Invoice {ident(4)}-{ident(6)}, item {ident(3)}-{ident(7)}, qty {number(99)}, total ${number(999):,}.{number(99):02}",
        "sku": lambda: f"part {ident(3)}-{ident(2)}-{ident(5)}, sku {ident(3)}-{ident(3)}-{ident(5)}, bin {ident(4)}",
        "version": lambda: f"{name()} {number(20)}.{number(20)}.{rng.randint(256, 9999)}.{number(255)} (build {ident(rng.choice([5, 8, 10]))})",
        "versions": lambda: f"{name()}=={number(20)}.{number(20)}.{number(20)}\n{name()}>={number(20)}.{number(20)}.{number(20)}.{number(20)}\n{name()}@{number(20)}.{number(9)}.{number(9)}",
        "browser": lambda: f"Mozilla/5.0 (X11) AppleWebKit/537.36 Chrome/{number(140)}.0.{number(9999)}.{number(255)} Safari/537.36 Edg/{number(140)}.0.{number(255)}.{number(255)}",
        "uuid": lambda: f"id={uuid.UUID(int=rng.getrandbits(128), version=4)} parent={uuid.UUID(int=rng.getrandbits(128), version=1)}",
        "hash": lambda: f"{hexes(rng.choice([32, 40, 64]))}  {name()}-{number(9)}.{number(9)}.tar.gz",
        "hexdump": lambda: f"{number(99999):08x}  {' '.join(hexes(2) for _ in range(8))}  {' '.join(hexes(2) for _ in range(8))}  |{'.' * 16}|",
        "mac": lambda: f"link/ether {':'.join(hexes(2) for _ in range(6))} brd ff:ff:ff:ff:ff:ff",
        "fingerprint": lambda: ":".join(hexes(2).upper() for _ in range(20)),
        "coordinates": lambda: f"[{rng.uniform(-90, 90):.{rng.randint(4, 8)}f}, {rng.uniform(-180, 180):.{rng.randint(4, 8)}f}]",
        "svg": lambda: "M" + "".join(f"{rng.uniform(0, 99):.{rng.randint(2, 16)}f}{rng.choice([' ', ',', '-', 'c', 'l'])}{rng.uniform(0, 9):.{rng.randint(1, 16)}f}" for _ in range(6)) + "z",
        "maths": lambda: f"{ident(rng.choice([3, 6]))} {rng.choice('+-*/')} {ident(rng.choice([3, 7, 10]))} = {ident(rng.choice([4, 9, 11]))}; pi = 3.{ident(rng.choice([8, 15]))}",
        "subtraction": lambda: f"x = {ident(3)}-{ident(3)}-{ident(rng.choice([2, 3, 5]))}; y = {ident(10)}-{ident(10)}; z = {ident(4)} - {ident(3)} - {ident(4)}1",
        "amounts": lambda: f"total {number(999)} {number(999):03} {number(999):03},{number(99):02} EUR; {number(999)},{number(999):03},{number(999):03} USD; 1.{number(999):03}.{number(999):03},00",
        "table": lambda: " ".join(f"{number(10 ** rng.randint(1, 6))}" for _ in range(rng.randint(5, 14))),
        "table 2": lambda: "\t".join(f"{rng.uniform(0, 10000):.3f}" for _ in range(8)),
        "dates": lambda: f"from {stamp()} {clock()} to {stamp()}, week {number(52)}, {stamp().replace('-', '')}{clock().replace(':', '')}",
        "dates 2": lambda: f"{number(28) + 1:02}.{number(11) + 1:02}.{rng.randint(1990, 2030)} {clock()} {stamp().replace('-', '/')} {rng.randint(1990, 2030)}-{rng.randint(1990, 2030)}",
        "epoch year": lambda: f"{epoch()} {rng.randint(1990, 2030)} {name()}",
        "imei": lambda: f"IMEI {luhn('35' + ident(12))}",
        "snowflake": lambda: f"\"tweet\":{rng.randint(10**17, 10**18)},\"user_id\":\"{ident(rng.choice([9, 10]))}\"",
        "block id": lambda: f"block id: {luhn('4' + ident(14))}, account {ident(10)}",
        "sql": lambda: f"INSERT INTO {name()} VALUES ({ident(10)}, '{stamp()}', {number(99)}.{number(99):02}, {ident(9)});",
        "code": lambda: f"const {name().upper()}_MASK: u64 = {rng.getrandbits(rng.choice([31, 32, 40, 63]))};  // 0b{rng.getrandbits(16):b}",
        "code 2": lambda: f"if (a[{number(99)}:{number(99)}:{number(9)}] == b[::{number(9)}] && std::vec::Vec::<u{rng.choice([8, 16])}>::new()) {{ return {ident(10)}L; }}",
        "css": lambda: f".{name()}::before {{ margin: {number(99)}px {number(99)}px; color: #{hexes(6)}; z-index: {ident(10)}; }}",
        "diff": lambda: f"@@ -{ident(3)},{number(50)} +{ident(3)},{number(50)} @@ fn {name()}() {{\n-    let x = {ident(10)};\n+    let x = {epoch()};",
        "json": lambda: f"{{\"id\":{ident(rng.choice([9, 10, 12]))},\"created\":{epoch()},\"price\":{number(999)}.{number(99):02},\"sizes\":[{ident(3)},{ident(3)},{ident(4)}],\"ok\":true}}",
        "csv": lambda: f"{ident(7)},{stamp()},{ident(3)},{ident(3)},{ident(4)},{ident(10)},{number(99)}.5",
        "yaml": lambda: f"{name()}:\n  ports: [{ident(4)}, {ident(5)}]\n  digest: sha256:{hexes(64)}\n  timeout: {ident(5)}\n  revision: \"{ident(10)}\"",
        "git": lambda: f"commit {hexes(40)}\nDate:   Mon Jan {number(27) + 1} {clock()} {rng.randint(2010, 2026)} +0{number(9)}00\n\n    Fix #{ident(5)} in {name()}",
        "oid": lambda: f"1.3.6.1.4.1.{number(99999)}.{number(9)}.{number(99)}.{number(999)}, 2.16.840.1.{number(999)}.{number(9)}",
        "phone-like": lambda: f"rows {ident(3)}-{ident(3)}, {ident(4)}; pages {ident(3)}-{ident(3)} of {ident(4)}; score {ident(3)}-{ident(3)}",
        "scientific": lambda: f"{rng.uniform(1, 10):.{rng.randint(3, 15)}f}e{rng.choice('+-')}{number(99)} +/- 0.{ident(10)}",
        "bank": lambda: f"batch {ident(4)} {ident(4)} {ident(4)} {ident(2)} closed; ledger {ident(12)}",
        "handles": lambda: f"thanks '@{name()}.{name()}' and @{name()}_{number(99)}; see {name()}@{number(9)}.{number(9)}.{number(9)} and {name()}@v{number(9)}.x",
    }
    for name_of, maker in makers.items():
        for _ in range(70):
            yield Text().add(maker()).row(f"generated: {name_of}", set="harmless")


def digest(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def rows(seed, crates, wheels, packs, lock_files, repository):
    rng = random.Random(seed)
    yield from packaged(rng, Path(crates), Path(wheels), Path(packs))
    yield from locks(rng, lock_files, repository)
    yield from generated(rng)
