"""Personal data: generated values in own templates, values in the templates and test cases of Presidio."""

import ast
import random
import re
import subprocess

import phonenumbers
from faker import Faker
from phonenumbers import PhoneNumberFormat as F
from phonenumbers import PhoneNumberType as T
from schwifty import IBAN
from schwifty.registry import get as registry

from rows import Text, fill

LOCALES = ["en_US", "en_GB", "de_DE", "fr_FR", "es_ES", "it_IT", "pt_BR", "nl_NL", "sv_SE", "pl_PL", "cs_CZ", "da_DK",
           "fi_FI", "no_NO", "tr_TR", "ro_RO", "hu_HU", "en_IN", "ja_JP", "ko_KR", "zh_CN", "ru_RU", "uk_UA", "el_GR", "he_IL"]
PEOPLE = ["josé.núñez", "müller", "łukasz.nowak", "søren", "françois.lefèvre", "мария.иванова", "иван", "γιώργος", "用户",
          "山田太郎", "김철수", "ñandú+compras", "zoë_b", "çelik", "ünal.öz"]
HOSTS = ["correo.es", "bücher.ch", "münchen.de", "почта.рф", "пример.укр", "例子.公司", "例え.jp", "xn--bcher-kva.ch", "παράδειγμα.gr",
         "post.no", "företag.se", "mail.xn--p1ai", "한국.kr"]

AROUND = {
    "any": ["{}", "{}.", "({})", "\"{}\"", "'{}'", "value: {}", "{}, thanks", "<{}>", "* {}", "| {} |", "\t{}\n", "see {} and the notes\n",
            "Hello,\n\n{}\n\nBest", "{\"id\":7,\"value\":\"{}\",\"ok\":true}", "name;{};active", "field={}&next=1", "[{}]", "—{}—",
            "请看{}谢谢", "値は{}です", "ok {}!", "1) {}\n2) none", "<td>{}</td>", "x,{},y", "**{}**", "`{}`", "set to {}; restart"],
    "email": ["Write to {} today.", "mailto:{}?subject=hi", "From: Jo <{}>", "to={}", "联系{}谢谢", "cc {}, and bob", "Author: J. Doe <{}>",
              "user {} logged in", "e-mail:{}", "Contact\u00a0{}", "reach me at {}:", "{}; call back", "email=\"{}\""],
    "phone": ["Call {} today.", "tel:{}", "Phone: {}", "my number is {}", "Fax {}", "mobile={}", "call me({})", "电话{}请", "Tel. {} (office)",
              "reach us at {} or by mail", "WhatsApp {}", "{\"phone\": \"{}\"}", "ring {}, ask for Jo", "Text {} for news", "cell {}"],
    "phone_bare": ["{}", "Jo Doe {}", "Jo Doe\n{}\nBoston", "{} (Jo)", "Jo, {}, Boston", "please use {} from now on", "{}\n", "- {}", "Jo: {}",
                   "Jo Doe | {} | jo", "office {}", "and {} is mine"],
    "ssn": ["SSN {}", "his social security number is {}.", "ssn: {}", "Social Security: {}, dob 1990-01-02", "{\"ssn\":\"{}\"}", "SSN#{}",
            "taxpayer {} filed", "my ssn is {} ok"],
    "card": ["card {}", "Card number: {}", "pay with {}, exp 12/27", "VISA {} cvv 123", "{\"card\":\"{}\"}", "cc={}", "charge my credit card {} please",
             "カード{}です", "payment {} declined"],
    "ip": ["from {} port 22", "ping {}", "host={}", "connect to {} failed", "client {}, server: x", "ssh root@{}", "dig @{} corp.com", "IP: {}",
           "blocked {} for 10 minutes", "peer {} closed", "{} - - [10/Oct/2024:13:55:36 +0000] \"GET / HTTP/1.1\" 200", "src={} dst=x",
           "route add {} via eth0", "nameserver {}"],
    "iban": ["IBAN {}", "IBAN: {}", "pay to {}.", "Konto {} bei der Bank", "transfer 20 EUR to {} please", "{\"iban\":\"{}\"}", "账户{}。", "iban={}",
             "Bankverbindung: {}, BIC folgt", "account no. {} (IBAN)"],
}


def templates(rng, kind):
    return rng.choice(AROUND[kind] if rng.random() < 0.6 else AROUND["any"])


def full_width(text):
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else "\u3000" if c == " " else c for c in text)


def emails(rng):
    fakers = [Faker(locale) for locale in LOCALES]
    for _ in range(900):
        fake = rng.choice(fakers)
        address = rng.choice([fake.email(safe=False), fake.company_email(), fake.free_email()])
        form = rng.random()
        local, _, host = address.partition("@")
        if form < 0.1:
            address = f"{local}+{rng.choice(['news', 'shop', '2024'])}@{host}"
        elif form < 0.2:
            address = f"{local}@{rng.choice(['mail', 'eu.corp', 'x-1'])}.{host}"
        elif form < 0.25:
            address = address.upper()
        elif form < 0.35:
            address = f"{rng.choice(PEOPLE)}@{rng.choice(HOSTS)}"
        elif form < 0.38:
            address = full_width(address)
        elif form < 0.42:
            address = f"{rng.choice(['o', 'd'])}'{local}@{host}"
        yield fill(templates(rng, "email"), address, "email").row("faker")


def nanp(rng):
    while True:
        number = phonenumbers.PhoneNumber(country_code=1, national_number=int(f"{rng.randint(2, 9)}{rng.randint(0, 8)}{rng.randint(0, 9)}"
                                          f"{rng.randint(2, 9)}{rng.randint(0, 999999):06}"))
        if phonenumbers.is_valid_number(number):
            return str(number.national_number)


def phones(rng):
    plain = ["({0}) {1}-{2}", "{0}-{1}-{2}", "{0}.{1}.{2}", "{0} {1} {2}", "({0}){1}-{2}", "({0}) {1} {2}", "+1 {0} {1} {2}", "+1 ({0}) {1}-{2}",
             "+1-{0}-{1}-{2}", "+1{0}{1}{2}", "1-{0}-{1}-{2}", "1 ({0}) {1}-{2}", "{0}/{1}-{2}", "{0}-{1}-{2} x{3}", "({0}) {1}-{2} ext. {3}",
             "{0}.{1}.{2}x{3}", "+1 {0}-{1}-{2} extension {3}", "1.{0}.{1}.{2}", "001-{0}-{1}-{2}", "{0} - {1} - {2}", "({0}) {1}.{2}", "{0} {1}-{2}"]
    for _ in range(800):
        number = nanp(rng)
        form = rng.choice(plain) if rng.random() < 0.95 else "{0}{1}{2}"
        bare = form == "{0}{1}{2}"
        value = form.format(number[:3], number[3:6], number[6:], rng.randint(1, 99999))
        if rng.random() < 0.03:
            value = full_width(value)
        around = rng.choice(AROUND["phone"]) if bare or rng.random() < 0.5 else templates(rng, "phone_bare")
        yield fill(around, value, "phone").row("phonenumbers", form="nanp")
    regions = sorted(phonenumbers.SUPPORTED_REGIONS)
    for region in regions:
        for _ in range(5):
            example = phonenumbers.example_number_for_type(region, rng.choice([T.MOBILE, T.FIXED_LINE]))
            if not example or example.country_code == 1:
                continue
            for _ in range(40):
                digits = list(str(example.national_number))
                for at in range(len(digits) - 4, len(digits)):
                    digits[at] = str(rng.randint(0, 9))
                other = phonenumbers.PhoneNumber(country_code=example.country_code, national_number=int("".join(digits)),
                                                 italian_leading_zero=example.italian_leading_zero)
                if phonenumbers.is_valid_number(other):
                    example = other
                    break
            form = rng.choice([F.E164, F.INTERNATIONAL, F.INTERNATIONAL, F.RFC3966])
            value = phonenumbers.format_number(example, form).removeprefix("tel:")
            if rng.random() < 0.1:
                value = value.replace("-", " ").replace(" ", ".")
            elif rng.random() < 0.05 and value.startswith("+44 "):
                value = value.replace("+44 ", "+44 (0)")
            elif rng.random() < 0.03:
                value = full_width(value)
            around = templates(rng, rng.choice(["phone", "phone_bare"]))
            yield fill(around, value, "phone").row("phonenumbers", form="e164")
    for region in regions:
        example = phonenumbers.example_number_for_type(region, rng.choice([T.MOBILE, T.FIXED_LINE]))
        if example and example.country_code != 1:
            value = phonenumbers.format_number(example, F.NATIONAL)
            yield fill(rng.choice(AROUND["phone"]), value, "phone").row("phonenumbers", form="national")


def ssns(rng):
    fake = Faker("en_US")
    for _ in range(400):
        value = fake.ssn()
        form = rng.random()
        if form < 0.25:
            yield fill(templates(rng, "ssn"), value.replace("-", " "), "ssn").row("faker")
        elif form < 0.4:
            yield fill(rng.choice(AROUND["ssn"]), value.replace("-", ""), "ssn").row("faker")
        else:
            yield fill(templates(rng, "ssn"), full_width(value) if form > 0.97 else value, "ssn").row("faker")


def with_luhn(body):
    total = sum(sum(divmod(int(d) * (2 - i % 2), 10)) for i, d in enumerate(reversed(body)))
    return body + str(-total % 10)


def grouped(rng, number):
    sep = rng.choice([" ", "-"])
    if len(number) == 15:
        parts = [number[:4], number[4:10], number[10:]]
    elif len(number) == 14 and rng.random() < 0.7:
        parts = [number[:4], number[4:10], number[10:]]
    else:
        parts = [number[i:i + 4] for i in range(0, len(number), 4)]
    return sep.join(parts)


def cards(rng):
    fake = Faker("en_US")
    more = [("2221", 16), ("2720", 16), ("2500", 16), ("62", 19), ("62", 16), ("5018", 12), ("6759", 12), ("6759", 19), ("3530", 16), ("3589", 16),
            ("65", 16), ("6011", 19), ("4", 19), ("2200", 16), ("36", 14), ("5893", 16), ("508", 16), ("6304", 16)]
    for _ in range(700):
        if rng.random() < 0.5:
            number = fake.credit_card_number(rng.choice(["amex", "diners", "discover", "jcb16", "maestro", "mastercard", "visa16", "visa19"]))
        else:
            prefix, size = rng.choice(more)
            number = with_luhn(prefix + "".join(str(rng.randint(0, 9)) for _ in range(size - len(prefix) - 1)))
        form = rng.random()
        value = grouped(rng, number) if form < 0.5 else number
        yield fill(templates(rng, "card"), full_width(value) if form > 0.97 else value, "credit_card").row("faker")
    for _ in range(40):
        number = with_luhn("1" + "".join(str(rng.randint(0, 9)) for _ in range(13)))
        yield fill(rng.choice(AROUND["card"]), number, "credit_card").row("own")
        three = [fake.credit_card_number("visa16") for _ in range(3)]
        text = Text().add(three[0], "credit_card").add(" ").add(grouped(rng, three[1]), "credit_card").add(" ").add(grouped(rng, three[2]), "credit_card")
        yield text.row("own")


def addresses(rng):
    fake = Faker()
    for _ in range(400):
        value = fake.ipv4()
        form = rng.random()
        around = templates(rng, "ip")
        if form < 0.15:
            value += f"/{rng.randint(8, 32)}"
        elif form < 0.3:
            around = around.replace("{}", "{}:" + str(rng.randint(20, 65000)))
        elif form < 0.35:
            around = around.replace("{}", "http://{}/index.html")
        elif form < 0.4:
            value = fake.ipv4_private()
        yield fill(around, value, "ip_address").row("faker")
    for _ in range(400):
        value = fake.ipv6()
        groups = value.split(":")
        form = rng.random()
        if form < 0.2:
            value = ":".join(groups[:3]) + "::" + ":".join(groups[6:])
        elif form < 0.3:
            value = f"2001:db8:{groups[2]}::{rng.randint(1, 99)}"
        elif form < 0.4:
            value = f"fe80::{':'.join(groups[4:])}%{rng.choice(['eth0', 'en1', 'wlan0', '12'])}"
        elif form < 0.5:
            value = f"2a0{rng.randint(0, 9)}:{groups[1]}::/{rng.choice([32, 48, 56, 64])}"
        elif form < 0.57:
            value = "::ffff:" + fake.ipv4()
        elif form < 0.62:
            value = "64:ff9b::" + fake.ipv4()
        elif form < 0.67:
            value = value.upper()
        elif form < 0.7:
            value = rng.choice(["::1", "fe80::1", "ff02::1", "fd00::2", "2001:db8::"])
        around = templates(rng, "ip")
        if form > 0.9:
            around = around.replace("{}", "[{}]:443")
        yield fill(around, value, "ip_address").row("faker")


def ibans(rng):
    countries = sorted(c for c in registry("iban") if len(c) == 2)
    rng_state = random.getstate()
    random.seed(rng.random())
    for country in countries:
        for _ in range(6):
            try:
                value = IBAN.random(country, random=rng).compact
            except Exception:
                continue
            form = rng.random()
            if form < 0.35:
                value = " ".join(value[i:i + 4] for i in range(0, len(value), 4))
            elif form < 0.45:
                value = value.lower()
            elif form < 0.55:
                value = f"{value[:2]} {value[2:4]} " + " ".join(value[4:][i:i + 4] for i in range(0, len(value) - 4, 4))
            elif form < 0.6:
                value = "-".join(value[i:i + 4] for i in range(0, len(value), 4))
            elif form < 0.68:
                size = rng.choice([3, 5, 6])
                value = value[:4] + " " + " ".join(value[4:][i:i + size] for i in range(0, len(value) - 4, size))
            yield fill(templates(rng, "iban"), value, "iban").row("schwifty")
    random.setstate(rng_state)


def show(repository, path):
    return subprocess.run(["git", "-C", repository, "show", f"HEAD:{path}"], check=True, capture_output=True, text=True).stdout


def presidio_templates(rng, repository):
    """Texts of presidio-research (MIT) with our values; kept aside as a whole."""
    fake = Faker("en_US")
    lines = show(repository, "presidio_evaluator/data_generator/raw_data/templates.txt").splitlines()
    ours = {"credit_card_number": "credit_card", "phone_number": "phone", "email": "email", "ssn": "ssn", "iban": "iban", "ip_address": "ip_address"}
    others = {"person": fake.name, "name": fake.name, "first_name": fake.first_name, "last_name": fake.last_name, "city": fake.city,
              "country": fake.country, "organization": fake.company, "company": fake.company, "address": fake.street_address,
              "street_name": fake.street_name, "building_number": lambda: str(rng.randint(1, 999)), "zipcode": fake.zipcode,
              "date_time": lambda: str(fake.date()), "date_of_birth": lambda: str(fake.date()), "nationality": lambda: "French",
              "prefix": fake.prefix, "age": lambda: str(rng.randint(18, 90)), "job": fake.job, "url": lambda: "https://www." + fake.domain_name(),
              "domain_name": fake.domain_name, "us_driver_license": lambda: "D" + str(rng.randint(1000000, 9999999))}

    def value(kind):
        if kind == "credit_card":
            number = fake.credit_card_number(rng.choice(["amex", "discover", "jcb16", "mastercard", "visa16"]))
            return grouped(rng, number) if rng.random() < 0.4 else number
        if kind == "phone":
            number = nanp(rng)
            return rng.choice(["({0}) {1}-{2}", "{0}-{1}-{2}", "{0}.{1}.{2}", "+1-{0}-{1}-{2}", "001-{0}-{1}-{2}x{3}", "{0}-{1}-{2}x{3}",
                               "+1 {0} {1} {2}"]).format(number[:3], number[3:6], number[6:], rng.randint(10, 9999))
        if kind == "iban":
            return IBAN.random(rng.choice(["DE", "GB", "FR", "ES", "IT", "NL"]), random=rng).compact
        return {"email": lambda: fake.email(safe=False), "ssn": fake.ssn, "ip_address": fake.ipv4}[kind]()

    for line in lines:
        names = re.findall(r"\{\{(\w+)\}\}", line)
        if not any(name in ours for name in names):
            continue
        for _ in range(5):
            text = Text()
            for i, piece in enumerate(re.split(r"\{\{(\w+)\}\}", line.replace("\\n", "\n"))):
                if i % 2 == 0:
                    text.add(piece)
                elif piece in ours:
                    text.add(value(ours[piece]), ours[piece])
                else:
                    text.add(others.get(piece, lambda: "Smith")())
            yield text.row("presidio-research", part="held_out", form="nanp")


def presidio_tests(repository):
    """The cases of Presidio's own tests (MIT) that give positions."""
    for name, kind in [("credit_card", "credit_card"), ("iban", "iban"), ("ip", "ip_address"), ("us_ssn", "ssn"), ("email", "email")]:
        tree = ast.parse(show(repository, f"presidio-analyzer/tests/test_{name}_recognizer.py"))
        for node in ast.walk(tree):
            if not isinstance(node, ast.Tuple) or not node.elts:
                continue
            try:
                case = ast.literal_eval(node)
            except ValueError:
                continue
            text, spans = case[0], next((e for e in case[1:] if isinstance(e, tuple) and e and all(
                isinstance(s, tuple) and len(s) == 2 and all(isinstance(n, int) for n in s) for s in e)), None)
            if not isinstance(text, str) or not spans or len(case) < 3:
                continue
            out, at = Text(), 0
            for start, end in sorted(spans):
                out.add(text[at:start]).add(text[start:end], kind)
                at = end
            yield out.add(text[at:]).row("presidio")


def rows(seed, research, presidio):
    rng = random.Random(seed)
    Faker.seed(seed)
    for make in (emails, phones, ssns, cards, addresses, ibans):
        yield from make(rng)
    yield from presidio_templates(rng, research)
    yield from presidio_tests(presidio)
