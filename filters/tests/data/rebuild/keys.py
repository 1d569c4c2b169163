"""Secrets: generated from the providers' published formats, none of them real; and what only looks like one."""

import base64
import hashlib
import json
import random
import re
import string
import subprocess

import rstr
import tomllib
import yaml

from rows import Text, fill, held_out

UP, LOW, NUM, HEX = string.ascii_uppercase, string.ascii_lowercase, string.digits, "0123456789abcdef"
AN, B64, B64U, BECH32 = UP + LOW + NUM, UP + LOW + NUM + "+/", UP + LOW + NUM + "_-", "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L"

# Literal parts and runs (alphabet, count), as the provider's documentation shows them.
FORMATS = [
    ["AKIA", (UP + "234567", 16)], ["ASIA", (UP + "234567", 16)],
    ["ghp_", (AN, 36)], ["gho_", (AN, 36)], ["ghs_", (AN, 36)], ["ghr_", (AN, 36)], ["github_pat_", (AN, 22), "_", (AN, 59)],
    ["glpat-", (B64U, 20)], ["gldt-", (B64U, 20)], ["glrt-", (B64U, 20)], ["glptt-", (HEX, 40)], ["glcbt-", (AN, 5), "_", (B64U, 20)],
    ["xoxb-", (NUM, 12), "-", (NUM, 13), "-", (AN, 24)], ["xoxp-", (NUM, 12), "-", (NUM, 12), "-", (NUM, 13), "-", (HEX, 32)],
    ["xapp-1-A", (UP + NUM, 10), "-", (NUM, 13), "-", (HEX, 64)],
    ["https://hooks.slack.com/services/T", (UP + NUM, 10), "/B", (UP + NUM, 10), "/", (AN, 24)],
    ["https://discord.com/api/webhooks/", (NUM, 18), "/", (B64U, 68)], ["https://discordapp.com/api/webhooks/", (NUM, 18), "/", (B64U, 68)],
    ["AIza", (B64U, 35)], ["GOCSPX-", (B64U, 28)], ["ya29.", (B64U, 120)],
    ["sk_live_", (AN, 24)], ["sk_test_", (AN, 24)], ["rk_live_", (AN, 24)], ["sk_live_", (AN, 99)], ["whsec_", (AN, 32)],
    ["npm_", (AN, 36)], ["pypi-AgEIcHlwaS5vcmc", (B64U, 70)],
    ["hf_", (UP + LOW, 34)], ["hf_", (AN, 34)], ["gsk_", (AN, 52)], ["xai-", (AN, 80)], ["r8_", (AN, 37)], ["pplx-", (AN, 48)],
    ["sk-", (AN, 20), "T3BlbkFJ", (AN, 20)], ["sk-proj-", (B64U, 74), "T3BlbkFJ", (B64U, 74)], ["sk-svcacct-", (B64U, 74), "T3BlbkFJ", (B64U, 74)],
    ["sk-or-v1-", (HEX, 64)], ["sk-ant-api03-", (B64U, 93), "AA"], ["sk-ant-admin01-", (B64U, 93), "AA"],
    ["sk-", (HEX, 32)],
    ["dop_v1_", (HEX, 64)], ["doo_v1_", (HEX, 64)], ["dor_v1_", (HEX, 64)], ["dapi", (HEX, 32)], ["dapi", (HEX, 32), "-2"],
    ["lin_api_", (AN, 40)], ["shpat_", (HEX, 32)], ["shpss_", (HEX, 32)], ["shpca_", (HEX, 32)], ["shppa_", (HEX, 32)],
    ["sq0csp-", (B64U, 43)], ["sq0atp-", (B64U, 22)], ["EAAA", (B64U, 60)],
    ["SG.", (B64U, 22), ".", (B64U, 43)], ["key-", (HEX, 32)], ["SK", (HEX, 32)], ["xkeysib-", (HEX, 64), "-", (AN, 16)],
    [(HEX, 32), "-us21"],
    ["figd_", (B64U, 40)], ["dckr_pat_", (B64U, 27)], ["dckr_oat_", (B64U, 32)], ["hvs.", (B64U, 95)], ["hvb.", (B64U, 140)],
    ["PMAK-", (HEX, 24), "-", (HEX, 34)], ["sntrys_", (B64U, 100)], ["sntryu_", (HEX, 64)], ["nvapi-", (B64U, 64)], ["tskey-auth-", (AN, 17), "-", (AN, 30)],
    ["rubygems_", (HEX, 48)], [(AN, 14), ".atlasv1.", (B64U, 67)], ["NRAK-", (UP + NUM, 27)], ["NRJS-", (HEX, 19)], ["NRII-", (B64U, 32)],
    ["glc_eyJ", (B64U, 60)], ["glsa_", (AN, 32), "_", (HEX, 8)], ["ATATT3xFfGF0", (B64U, 180)], ["ATCTT3xFfGN0", (B64U, 180)], ["AGE-SECRET-KEY-1", (BECH32, 58)],
    ["pat-na1-", (HEX, 8), "-", (HEX, 4), "-", (HEX, 4), "-", (HEX, 4), "-", (HEX, 12)], ["secret_", (AN, 43)], ["ntn_", (NUM, 11), (AN, 35)],
    ["dp.pt.", (AN, 43)], ["dp.st.prd.", (AN, 43)], ["pscale_tkn_", (B64U, 43)], ["pscale_pw_", (B64U, 43)], ["p8e-", (LOW + NUM, 32)], ["CFPAT-", (B64U, 43)],
    ["ops_eyJ", (B64, 300)], ["LTAI", (AN, 20)], ["AKID", (AN, 32)], ["sbp_", (HEX, 40)], ["tvly-", (AN, 32)], ["lsv2_pt_", (HEX, 32), "_", (HEX, 10)],
    ["phc_", (AN, 43)], ["phx_", (AN, 43)], ["duffel_live_", (B64U, 43)], ["EZAK", (AN, 54)], ["shippo_live_", (HEX, 40)], ["AccountKey=", (B64, 86), "=="],
    ["live_", (AN, 40)], [(NUM, 10), ":AA", (B64U, 33)], [(AN, 3), "8Q~", (AN, 34)], ["AKCp8", (AN, 68)], ["A3-", (UP + NUM, 6), "-", (UP + NUM, 11), "-", (UP + NUM, 5), "-", (UP + NUM, 5), "-", (UP + NUM, 5)],
    ["pul-", (HEX, 40)], ["fo1_", (B64U, 43)], ["FlyV1 fm2_", (B64, 120)], ["frp_live_", (AN, 30)], ["PRMA-", (AN, 60)], ["patE", (AN, 13), ".", (HEX, 64)],
    ["ABSK", (B64, 120)], ["EAACEdEose0cBA", (AN, 90)], ["rdme_", (LOW + NUM, 70)], ["scp_", (AN, 40)], ["sgp_", (HEX, 40)], ["CLOJARS_", (HEX, 60)], ["ghu_", (AN, 36)],
    ["shrtcut_", (AN, 32)], ["tfp_", (AN, 44)], ["dnkey-", (AN, 60)], ["fw_", (AN, 24)], ["jina_", (AN, 60)], ["pcsk_", (AN, 70)], ["e2b_", (HEX, 40)], ["re_", (AN, 8), "_", (AN, 24)],
]
NOT_PUBLISHED = {"shrtcut_", "frp_live_", "dnkey-", "scp_", "live_"}
AROUND = ["{}", "key={}", "export TOKEN={}", "token: {}", "\"apiKey\": \"{}\"", "Authorization: Bearer {}", "curl -H 'X-Api-Key: {}' https://x.io",
          "use {} please", "const key = \"{}\";", "my key is {}.", "<token>{}</token>", "API_KEY='{}'\n", "login with `{}`", "密钥{}已泄露", "- name: KEY\n  value: {}",
          "password {}", "({})", "{},", "key = '{}'  # rotate", "ENV SECRET {}", "--token {}", "{\"k\":\"{}\"}"]
KINGFISHER = "ee7c0db3ef87575768f817820c24736249ffcdef"
WORDS = ["sunny", "Dragon", "blue", "Winter", "tiger", "Coffee", "monkey", "Summer", "falcon", "Kitchen", "moon", "Rocket"]


def run(rng, alphabet, count):
    return "".join(rng.choice(alphabet) for _ in range(count))


def make(rng, parts):
    return "".join(part if isinstance(part, str) else run(rng, *part) for part in parts)


def password(rng):
    form = rng.randrange(6)
    word = rng.choice(WORDS)
    if form == 0:
        return f"{word}{rng.randint(10, 9999)}{rng.choice('!?#%')}"
    if form == 1:
        return f"{word}-{rng.choice(WORDS)}-{rng.randint(10, 99)}"
    if form == 2:
        return word.replace("o", "0").replace("e", "3").replace("i", "1") + str(rng.randint(1, 999))
    if form == 3:
        return run(rng, AN, rng.randint(8, 12))
    if form == 4:
        return run(rng, AN + "!#%*_-", rng.randint(12, 20))
    return run(rng, AN, rng.randint(20, 32))


def published(rng):
    for parts in FORMATS:
        if parts[0] in NOT_PUBLISHED:
            continue
        for _ in range(6):
            before, after = rng.choice(AROUND).split("{}", 1)
            label = parts[0] if parts[0] == "AccountKey=" else ""
            value = make(rng, parts).removeprefix(label)
            yield Text().add(before + label).add(value, "secret").add(after).row("own", set="secret_format")
    for _ in range(40):
        part = lambda d: base64.urlsafe_b64encode(json.dumps(d, separators=(",", ":")).encode()).decode().rstrip("=")
        header = {"alg": rng.choice(["HS256", "RS256", "ES256"]), "typ": "JWT", **({"kid": run(rng, AN, 8)} if rng.random() < 0.5 else {})}
        claims = {"sub": run(rng, NUM, 10), "exp": rng.randint(1_700_000_000, 1_900_000_000)}
        yield fill(rng.choice(AROUND), f"{part(header)}.{part(claims)}.{run(rng, B64U, 43)}", "secret").row("own", set="secret_format")
        label = rng.choice(["RSA PRIVATE KEY", "PRIVATE KEY", "EC PRIVATE KEY", "OPENSSH PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "PGP PRIVATE KEY BLOCK"])
        line = rng.choice(["\n", "\n", "\\n", "\r\n", "\n    "])
        body = line.join(run(rng, B64, 64) for _ in range(rng.randint(3, 12)))
        yield fill(rng.choice(["{}", "key: |\n{}\n", "\"private_key\": \"{}\"", "here:\n{}\nthanks"]),
                   f"-----BEGIN {label}-----{line}{body}{line}-----END {label}-----", "secret").row("own", set="secret_format")


def connections(rng):
    schemes = ["postgres", "postgresql", "mysql", "mongodb", "mongodb+srv", "redis", "amqp", "mssql", "mariadb", "rediss", "ftp", "https", "clickhouse", "ldap"]
    for _ in range(350):
        secret, user, host = password(rng), rng.choice(["app", "admin", "svc_user", "root", "u1"]), rng.choice(["db.internal", "10.1.2.3", "cluster0.ab1.mongodb.net", "localhost", "db"])
        url_secret = secret.replace("#", "%23").replace("?", "%3F").replace("%!", "!")
        form = rng.randrange(12)
        if form < 6:
            text = Text().add(rng.choice(["", "DATABASE_URL=", "url: \"", "connect(\"", "use "])).add(f"{rng.choice(schemes)}://{user}:")
            text.add(url_secret, "secret").add(f"@{host}:5432/app").add(rng.choice(["", "\"", " now", "\n"]))
        elif form == 6:
            text = Text().add("redis://:").add(url_secret, "secret").add(f"@{host}:6379/0")
        elif form == 7:
            text = Text().add(f"Server={host};Database=app;User Id={user};Password=").add(secret.replace(";", ""), "secret").add(";Encrypt=true")
        elif form == 8:
            text = Text().add(f"jdbc:postgresql://{host}:5432/app?user={user}&password=").add(url_secret.replace("&", ""), "secret").add("&ssl=true")
        elif form == 9:
            text = Text().add(f"host={host} port=5432 dbname=app user={user} password=").add(secret, "secret").add(" sslmode=require")
        elif form == 10:
            text = Text().add(f"Driver={{ODBC Driver 17}};Server={host};UID={user};PWD=").add(secret, "secret").add(";")
        else:
            text = Text().add("DefaultEndpointsProtocol=https;AccountName=acct;AccountKey=").add(run(rng, B64, 86) + "==", "secret").add(";EndpointSuffix=core.windows.net")
        yield text.row("own", set="secret_connection")


def assignments(rng):
    names = ["password", "passwd", "PASSWORD", "DB_PASSWORD", "db_password", "dbPassword", "secret", "client_secret", "clientSecret", "SECRET_KEY", "api_key", "apiKey", "API_KEY", "apikey",
             "x-api-key", "access_token", "accessToken", "auth_token", "token", "TOKEN", "aws_secret_access_key", "AWS_SECRET_ACCESS_KEY", "private_key", "encryption_key", "JWT_SECRET", "refresh_token",
             "smtp_password", "redis_pass", "admin_pwd", "service_credential", "signing_secret", "STRIPE_WEBHOOK_SECRET", "root_password", "passphrase", "MYSQL_ROOT_PASSWORD", "bot_token", "oauth_token"]
    forms = ["{n}={v}", "{n} = \"{v}\"", "{n}: {v}", "\"{n}\": \"{v}\"", "'{n}': '{v}'", "export {n}={v}", "{n} = '{v}'", "--{n}={v}", "{n}: \"{v}\"", "const {n} = \"{v}\";", "{n} => '{v}'", "<{n}>{v}</{n}>",
             "{n}:{v}", "set {n} \"{v}\"", "let {n} = `{v}`;", "String {n} = \"{v}\";", "- {n}: {v}\n", "my {n} is {v}", "{n} := \"{v}\"", "os.environ[\"{n}\"] = \"{v}\""]
    for _ in range(500):
        name = rng.choice(names)
        human = any(part in name.lower() for part in ("pass", "pwd"))
        value = password(rng) if human else rng.choice([run(rng, HEX, 32), run(rng, AN, 32), run(rng, HEX, 40), run(rng, B64, 40), run(rng, B64U, 24), run(rng, AN, 20), run(rng, HEX, 64), run(rng, AN, 16)])
        before, after = rng.choice(forms).replace("{n}", name).split("{v}", 1)
        yield Text().add(before).add(value, "secret").add(after).row("own", set="secret_assignment")


def look_alikes(rng):
    fixed = ["password = getpass.getpass()", "token = os.environ[\"TOKEN\"]", "api_key=${API_KEY}", "password: changeme", "secret: <your-secret>", "API_KEY=YOUR_API_KEY_HERE", "token: str | None = None",
             "password: String,", "def check(password: str) -> bool:", "max_tokens = 4096", "client_secret = settings.CLIENT_SECRET", "password = user.password_hash", "api_key = config[\"api_key\"]",
             "secretKeyRef:\n  name: app-secrets\n  key: db-password", "AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "AKIAIOSFODNN7EXAMPLE", "aws_access_key_id = AKIAI44QH8DHBEXAMPLE",
             "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "sk-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "sk-...", "sk-your-openai-key-goes-in-here", "xoxb-your-token-here-please-thanks", "AIzaSyXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX",
             "sk_test_xxxxxxxxxxxxxxxxxxxxxxxx", "token=[REDACTED]", "password=********", "password=\"${{ secrets.DB_PASSWORD }}\"", "password: {{ .Values.db.password }}", "password = \"<redacted>\"", "passwd=%s", "pwd = $1",
             "postgres://user:password@localhost/db", "postgres://user:pass@host:5432/db", "mysql://${DB_USER}:${DB_PASS}@${DB_HOST}/app", "redis://:<password>@host:6379", "https://user:xxxx@example.com/", "mongodb://username:password@host",
             "const alphabet = \"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789\"", "BASE58 = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz'", "token_type: bearer", "access_token_url = https://auth.corp.io/oauth/token",
             "secret_name: prod/db/main", "secret = vault.read(\"kv/app\")", "--password-file /run/secrets/db", "password_min_length = 12", "passwordResetUrl=/account/reset", "csrf_token = form.csrf_token", "api_key_header = \"X-Api-Key\"",
             "arn:aws:secretsmanager:us-east-1:000000000000:secret:prod-db", "-----BEGIN CERTIFICATE-----\nMIIDdzCCAl+gAwIBAgIEAgAAuTANBgkqhkiG9w0BAQUFADBaMQswCQYDVQQGEwJJ", "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKC",
             "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl", "key_id = \"projects/p/locations/global/keyRings/r/cryptoKeys/k\"", "tokens: 1843 prompt, 221 completion", "secret sauce: love and butter",
             "\"token\": \"string\"", "token = tokenizer.encode(text)", "let token = lexer.next_token()?;", "private_key_path = /etc/ssl/private/server.key", "API_KEY_ENV = \"OPENAI_API_KEY\"", "secret_version: 1.2.3-rc.1+build.77"]
    for text in fixed:
        yield {"text": text, "values": [], "source": "own", "part": "seen", "set": "secret_look_alike"}
    for _ in range(500):
        hexes = lambda n: run(rng, HEX, n)
        name, word = rng.choice(["token", "password", "api_key", "secret", "client_secret", "access_key"]), rng.choice(["billing", "user", "search", "orders", "session"])
        form = rng.randrange(18)
        text = [
            lambda: f"\"integrity\": \"sha512-{run(rng, B64, 86)}==\"",
            lambda: f"checksum = \"{hexes(64)}\"",
            lambda: f"github.com/{word}/{word}-go v1.{rng.randint(0, 20)}.{rng.randint(0, 9)} h1:{run(rng, B64, 43)}=",
            lambda: f"image: registry.corp.io/{word}@sha256:{hexes(64)}",
            lambda: f"commit {hexes(40)}",
            lambda: f"ETag: \"{hexes(32)}\"",
            lambda: f"trace_id={hexes(32)} span_id={hexes(16)}",
            lambda: f"{name} = {word}.{rng.choice(['get', 'load', 'fetch'])}_{name}()",
            lambda: f"{name}: ${{{word.upper()}_{name.upper()}}}",
            lambda: f"{name} = \"your-{word}-{name.replace('_', '-')}\"",
            lambda: f"{name} = self.{word}_{name}",
            lambda: f"{name}: {rng.choice(['String', 'string', 'Option<String>', 'SecretString', 'str', '&str', 'bytes', 'null', 'undefined', 'None'])}",
            lambda: f"{name}=" + rng.choice(["x", "*", "0", "X"]) * rng.randint(8, 40),
            lambda: f"{rng.choice(['sk-', 'ghp_', 'xoxb-', 'AKIA', 'hf_', 'glpat-', 'npm_', 'SG.'])}" + rng.choice(["X", "x", "1234567890", "abcdefghij", "EXAMPLE"]) * 6,
            lambda: f"{word}-{hexes(8)}-{hexes(4)}-4{hexes(3)}-a{hexes(3)}-{hexes(12)}",
            lambda: f"{name}_ref: vault:secret/data/{word}#{name}",
            lambda: f"src=\"data:image/png;base64,{run(rng, B64, 80)}\"",
            lambda: f"{word}_{name}_rotation_days = {rng.randint(1, 365)}",
        ][form]()
        yield Text().add(text).row("own", set="secret_look_alike")


def by_gitleaks_formats(rng, gitleaks):
    """Strings drawn from the expressions of gitleaks' rules (MIT) that begin with a literal; a quarter of the rules is kept aside."""
    text = subprocess.run(["git", "-C", gitleaks, "show", "HEAD:config/gitleaks.toml"], check=True, capture_output=True, text=True).stdout
    random.seed(rng.random())
    for rule in tomllib.loads(text)["rules"]:
        expression = rule.get("regex", "")
        body = re.sub(r"\(\?:\[\\x60.*$", "", expression)
        body = body.replace("\\b", "").replace("(?i)", "").replace("(?-i:", "(?:").replace("[[:alnum:]]", "[a-zA-Z0-9]")
        if "(?:=|>|:{1,3}=" in expression or not re.match(r"^\(*(\?:)?[A-Za-z0-9_-]{3,}", body) or "(?i:" in body:
            continue
        if re.search(r"(?<!\\)\.", re.sub(r"\[[^]]*\]", "", body)):
            continue  # a dot that stands for anything
        try:
            re.compile(body)
            drawn = [rstr.xeger(body) for _ in range(6)]
        except Exception:
            continue
        for value in drawn:
            if value.isprintable() and value.isascii() and len(value) < 600:
                yield fill(rng.choice(AROUND), value, "secret").row("gitleaks: " + rule["id"], part="held_out" if held_out(rule["id"]) else "seen", set="secret_format")


def flat(expression):
    """An expression without its layout and comments, its flags, and its borders."""
    out, inside, at = "", False, 0
    verbose = re.match(r"\(\?[a-z]*x", expression)
    while at < len(expression):
        char = expression[at]
        if char == "\\":
            out += expression[at : at + 2]
            at += 2
            continue
        inside = (inside or char == "[") and char != "]"
        if verbose and not inside and char == "#":
            at = len(expression) if "\n" not in expression[at:] else expression.index("\n", at)
            continue
        if not (verbose and not inside and char.isspace()):
            out += char
        at += 1
    return re.sub(r"^\(\?[a-z]+\)", "", out).replace("\\b", "")


def opened(rule):
    """Half of the rules, by hash."""
    return hashlib.sha256(b"opened " + rule.encode()).digest()[0] % 2 == 0


def fresh(seed, kingfisher):
    """Strings drawn from the expressions of Kingfisher's rules (Apache-2.0) that begin with a literal, when ours were done. After
    all had been counted once, half of its rules were opened."""
    rng = random.Random(seed)
    random.seed(rng.random())
    git = ["git", "-C", kingfisher]
    names = subprocess.run([*git, "ls-tree", "-r", "--name-only", KINGFISHER, "data/rules"], check=True, capture_output=True, text=True).stdout
    for name in sorted(names.split()):
        text = subprocess.run([*git, "show", f"{KINGFISHER}:{name}"], check=True, capture_output=True, text=True).stdout
        for rule in (yaml.safe_load(text) or {}).get("rules", []) if name.endswith((".yml", ".yaml")) else []:
            body = flat(rule.get("pattern", ""))
            if rule.get("visible") is False or not re.match(r"^\(*(\?:)?[A-Za-z0-9_-]{3,}", body):
                continue
            if re.search(r"(?<!\\)\.", re.sub(r"\[[^]]*\]", "", body)):
                continue  # a dot that stands for anything
            try:
                drawn = [rstr.xeger(body) for _ in range(6)]
            except Exception:
                continue
            for value in drawn:
                if value.isprintable() and value.isascii() and len(value) < 600:
                    yield fill(rng.choice(AROUND), value, "secret").row("kingfisher: " + rule["id"], part="seen" if opened(rule["id"]) else "held_out", set="secret_format: fresh")


def rows(seed, gitleaks):
    rng = random.Random(seed)
    for group in (published, connections, assignments, look_alikes):
        yield from group(rng)
    yield from by_gitleaks_formats(rng, gitleaks)
