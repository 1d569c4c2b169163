//! Labelled texts: what must be covered, and what must not be touched. All of them written for this test.

use super::*;

/// `⟨…⟩` is what must be covered by findings of the kind, no more and no less of its letters and digits.
pub(super) fn check(kind: &str, texts: &[&str]) {
    let (rules, policy) = engine(|_| Action::Mask);
    let mut wrong = Vec::new();
    for marked in texts {
        let text = marked.replace(['⟨', '⟩'], "");
        let mut expected = Vec::new();
        let (mut at, mut inside) = (0, false);
        for c in marked.chars() {
            match c {
                '⟨' => inside = true,
                '⟩' => inside = false,
                _ => {
                    if inside && c.is_alphanumeric() {
                        expected.push(at);
                    }
                    at += c.len_utf8();
                }
            }
        }
        let mut found = Vec::new();
        rules.scan(&policy, &text, &mut found);
        let covered: Vec<usize> = text
            .char_indices()
            .filter(|(at, c)| {
                c.is_alphanumeric() && found.iter().any(|f| *f.kind == *kind && f.span.contains(at))
            })
            .map(|(at, _)| at)
            .collect();
        if covered != expected {
            let seen: Vec<_> = found.iter().map(|f| (&*f.rule_id, &text[f.span.clone()])).collect();
            wrong.push(format!("{marked}\n    found {seen:?}"));
        }
    }
    assert!(wrong.is_empty(), "{kind}: {} of {} wrong\n{}", wrong.len(), texts.len(), wrong.join("\n"));
}

#[test]
fn emails() {
    check(
        "email",
        &[
            "⟨alice@corp.com⟩",
            "mailto:⟨alice@corp.com⟩?subject=hi",
            "<⟨alice.b+news@mail.corp.co.uk⟩>",
            "\"Alice\" <⟨alice@corp.com⟩>, ⟨bob_2@corp.io⟩;",
            "user=⟨alice@corp.com⟩&x=1",
            "⟨a@b.co⟩, ⟨x-y@z-w.org⟩.",
            "⟨josé.núñez@correo.es⟩",
            "⟨мария@почта.рф⟩",
            "ＡＬＩＣＥ: ⟨ａｌｉｃｅ＠ｃｏｒｐ．ｃｏｍ⟩",
            "⟨аlice@corp.com⟩",
            "⟨o'hara@corp.ie⟩",
            "联系⟨alice@corp.com⟩谢谢",
            "⟨alice@163.com⟩",
            "(⟨alice@corp.com⟩)",
            "git clone ⟨git@github.com⟩:org/repo.git",
            "npm i lodash@4.17.21 @types/node@20.1.0",
            "react@18.0.0-rc.1",
            "see @alice and '@bob.smith'",
            "icon@2x.png logo@3x.webp",
            "@Component.factory({})",
            "root@localhost:~$ ls",
            "x = a @ b.T",
            "user at corp dot com",
            "foo@bar",
            "uses: actions/checkout@v4.1.1",
        ],
    );
}

#[test]
fn phones() {
    check(
        "phone",
        &[
            "⟨212-555-0123⟩",
            "⟨(212) 555-0123⟩",
            "⟨(212)555-0123⟩",
            "⟨212.555.0123⟩",
            "⟨+1 212 555 0123⟩",
            "⟨+1-212-555-0123⟩",
            "⟨+1 (212) 555-0123⟩",
            "⟨+12125550123⟩",
            "⟨1-800-555-0199⟩",
            "⟨001-212-555-0123⟩",
            "call ⟨212 555 0123⟩ today",
            "phone: ⟨2125550123⟩",
            "Tel⟨+49 30 901820⟩",
            "⟨+44 20 7946 0958⟩",
            "⟨+44 (0)20 7946 0958⟩",
            "⟨+33 1 23 45 67 89⟩",
            "⟨+91 98765 43210⟩",
            "⟨+86 139 1234 5678⟩",
            "⟨+81-3-1234-5678⟩",
            "⟨+55 11 91234-5678⟩",
            "⟨+34 612 345 678⟩, ⟨+39 06 1234 5678⟩",
            "电话⟨+8613912345678⟩请",
            "⟨＋１ ２１２ ５５５ ０１２３⟩",
            "⟨212-555-0123 x4567⟩",
            "⟨(212) 555-0123 ext. 45678⟩",
            "⟨212-555-0123x45⟩",
            "⟨(212) 555 - 0123⟩",
            "⟨(212)555 - 0123⟩, ⟨+1 (212) 555 - 0123⟩",
            "⟨1 (212) 555 - 4567⟩ or ⟨212 - 555 - 0123⟩.",
            "phone ⟨(212) 555 - 0123 ext. 45⟩",
            "phone ⟨212 - 555 - 4567⟩",
            "⟨２１２ － ５５５ － ０１２３⟩",
            "call ⟨212-555-0123 x45⟩ now",
            "call ⟨212-555-0123⟩ x45a now",
            "call ⟨212-555-0123, extension: 45⟩ now",
            "call ⟨212-555-0123⟩, extension: none",
            "⟨212-555-0123⟩:home, ⟨212-555-0123⟩-(b)",
            "tel 06 12 34 56 78:30",
            "my number is ⟨020 7946 0958⟩",
            "mobile ⟨0412 345 678⟩",
            "1609459200",
            "epoch 1609459200123 ms",
            "pid 2125550123",
            "order 2125550123",
            "40.712776, -74.005974",
            "0306406152",
            "978-0-306-40615-7",
            "300-200-1000-44",
            "$212 555 0123",
            "2024-01-02 12:30:45",
            "20240102123045",
            "1,234,567,890",
            "12 345 678 901",
            "192.168.100.200",
            "build 212.555.0123.4",
            // A bracket that nothing opened, and what cannot stand between the groups of a number.
            "212) 555-0123",
            "(212) 555) 0123",
            "212-555/0123",
            "(212) 555/0123",
            // Subtractions: no number begins with a zero.
            "212 - 555 - 123",
            "212 - 555 - 1234",
            "x = 900 - 555 - 1234",
            "= 212 - 555 - 0123 - 7",
            "9 - 212 - 555 - 0123",
            "1212 - 555 - 0123",
            "order 212 - 555 - 0123",
            "212 555 - 1234",
            "(212) - 555 = 1234",
            "(212) 555 - 123",
            "(212) 155 - 0123",
            "total (212) 555 - 1234",
            "2 * (212) 555 - 01234",
            "550e8400-e29b-41d4-a716-446655440000",
            "sha1 da39a3ee5e6b4b0d3255bfef95601890afd80709",
            "+10000000",
            "x = 5+1234567890",
            "@@ -212,55 +212,70 @@",
            "diff: +1609459200",
            "0x2125550123",
            "3.14159265358979",
            "250 300 1000 4000 200",
        ],
    );
}

#[test]
fn social_security_numbers() {
    check(
        "ssn",
        &[
            "⟨219-09-9998⟩",
            "SSN ⟨219 09 9998⟩.",
            "ssn=⟨219099998⟩",
            "Social Security: ⟨219-09-9998⟩, dob 1990-01-02",
            "⟨219-09-9998⟩ ⟨457-55-5462⟩",
            "000-09-9998",
            "666-09-9998",
            "987-65-4320",
            "219-00-9998",
            "219-09-0000",
            "219-09-9998-1",
            "219-09-9998x45",
            "A219-09-9998",
            "219-09-99980",
            "219099998",
            "part no 219-09-9998",
            "0219-09-9998",
            "2019-09-9998",
        ],
    );
}

#[test]
fn cards() {
    check(
        "credit_card",
        &[
            "⟨4111111111111111⟩",
            "⟨4111 1111 1111 1111⟩ exp 12/25",
            "⟨4111-1111-1111-1111⟩",
            "⟨5555555555554444⟩",
            "⟨2223003122003222⟩",
            "⟨378282246310005⟩",
            "⟨3782 822463 10005⟩",
            "⟨6011111111111117⟩",
            "⟨3530111333300000⟩",
            "⟨30569309025904⟩",
            "⟨3056 930902 5904⟩",
            "⟨6759649826438453⟩",
            "⟨501800000009⟩",
            "card ⟨135410014004955⟩",
            "⟨4111111111111111⟩ ⟨5555-5555-5555-4444⟩ ⟨6011 1111 1111 1117⟩",
            "カード⟨4111111111111111⟩です",
            "⟨４１１１ １１１１ １１１１ １１１１⟩",
            "{\"pan\":\"⟨4111111111111111⟩\"}",
            "_⟨4111 1111 1111 1111⟩_, __⟨5555555555554444⟩__ _",
            "accounts 4100 4120 4130 4138, 5000 5001 5002 5003 5004 5005",
            "post 501800000000000009, 62000000000000000; card ⟨501800000000000009⟩",
            "x_4111111111111111, 4111111111111111_v2, 4111111111111111_2",
            "4111111111111111v",
            "4111111111111112",
            "41111111111111111111",
            "0.4111111111111111",
            "M10.4111111111111111,3",
            "blk_-4111111111111111",
            "order 4111111111111111",
            "1609459200 2021",
            "352099001761481",
            "9780306406157",
            "4006381333931",
            "550e8400-e29b-41d4-a716-446655440000",
            "4111-1111-1111-1111-1",
            "sha256:4111111111111111abcdef",
            "0000000000000000",
        ],
    );
}

#[test]
fn addresses() {
    check(
        "ip_address",
        &[
            "⟨203.0.113.9⟩",
            "http://⟨203.0.113.9⟩:8080/x",
            "⟨10.0.0.0/8⟩",
            "ssh root@⟨203.0.113.9⟩",
            "⟨192.168.1.10⟩-⟨192.168.1.20⟩",
            "203.0.113.77-5",
            "203.0.113.77-5-2",
            "src=⟨203.0.113.9⟩ dst=⟨198.51.100.7⟩",
            "ping ⟨1.1.1.1⟩",
            "ping ⟨1.1.1.1⟩ 2.3",
            "⟨2001:db8:85a3::8a2e:370:7334⟩",
            "[⟨2a00:1450:4001:81b::200e⟩]:443",
            "⟨fe80::1ff:fe23:4567:890a%eth0⟩",
            "⟨::ffff:192.0.2.128⟩",
            "⟨2001:db8::/32⟩",
            "inet6 ⟨2001:0db8:0000:0000:0000:ff00:0042:8329⟩ scope",
            "version 4.8.12.3",
            "v10.0.22.1",
            "==1.22.33.4",
            "Chrome/120.0.6099.109",
            "1.2.3.4.5",
            "256.1.1.1",
            "01.02.03.04",
            "section 1.2.3.4",
            "oid 1.3.6.1.4.1",
            "12:30:45",
            "std::vec::Vec",
            "a[1::2]",
            "00:1a:2b:3c:4d:5e",
            "dead::beef",
            "a::before",
            "Foo::Bar::baz",
            "ab:cd:ef:01:23:45:67:89:ab:cd:ef:01:23:45:67:89",
            "10:20:30:40",
        ],
    );
}

#[test]
fn account_numbers() {
    check(
        "iban",
        &[
            "⟨DE89370400440532013000⟩",
            "IBAN: ⟨DE89 3704 0044 0532 0130 00⟩",
            "⟨DE 89 37040044 0532013000⟩",
            "⟨gb82 west 1234 5698 7654 32⟩",
            "⟨FR14 2004 1010 0505 0001 3M02 606⟩,",
            "⟨NO93 8601 1117 947⟩",
            "⟨NL91-ABNA-0417-1643-00⟩",
            "⟨CH9300762011623852957⟩",
            "账户⟨DE89370400440532013000⟩。",
            "DE89370400440532013001",
            "DE8937040044053201300",
            "XDE89370400440532013000",
            "US89370400440532013000",
            "de 20 personnes",
            "is 2020 a leap year",
        ],
    );
}

#[test]
fn secrets() {
    check(
        "secret",
        &[
            "⟨sk-T3BlbkFJx9Qa7Lm2Zp4Rv8Wc6Yd1Nf5Hg0JkSbTe3UiXo⟩",
            "OPENAI_API_KEY=⟨sk-proj-Ab3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF3hJ6⟩",
            "⟨ghp_q8Zr2LmX0vT5bNc7KpWd3HsYfJ6gRa1uEo9i⟩",
            "AKIA in text, ⟨AKIAZ7Q2MXKPVLW4NDTR⟩, end",
            "url ⟨postgres://app:s3cr3tPw9@db.internal:5432/app⟩ end",
            "password: \"⟨Tr0ub4dor&3⟩\"",
            "\"client_secret\": \"⟨q8Zr2LmX0vT5bNc7KpWd⟩\"",
            "export DB_PASSWORD=⟨S3cure-Pa55⟩",
            "Authorization: Bearer ⟨q8Zr2LmX0vT5bNc7KpWd3HsY⟩",
            "⟨-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA1b2c3d4e5f6g7h8⟩",
            "-----BEGIN RSA PRIVATE KEY--X---\nMIIEpAIBAAKCAQEA1b2c3d4e5f6g7h8",
            "-----BEGIN RSA PRIVATE KEY--\n---MIIEpAIBAAKCAQEA1b2c3d4e5f6g7h8",
            "⟨-----BEGIN A VERY LONG LABEL OF A PRIVATE KEY INDEEDS-----\nMIIEpAIBAAKCAQEA1b2c3d4e5f6g7h8⟩",
            "-----BEGIN A VERY LONG LABEL OF A PRIVATE KEY INDEED YES-----\nMIIEpAIBAAKCAQEA1b2c3d4e5f6g7h8",
            "AIzaSyXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX",
            "sk-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
            "AKIAIOSFODNN7EXAMPLE",
            "password = os.environ[\"DB_PASSWORD\"]",
            "token = self.tokenizer.next_token()",
            "secret: my-app-secret-name",
            "api_key: ${{ secrets.API_KEY }}",
            "\"integrity\": \"sha512-v2kDEe57lecTulaDIuNTPy3Ry4gLGJ6Z1O3vE1krgXZNrsQ+LFTGHVxVjcXPs17LhbZVGedAJv8XZ1tvj5FvSg==\"",
            "password must have at least 8 characters",
            "max_tokens=4096, tokens: 1234567890",
            "commit 8f14e45fceea167a5a36dedd4bea2543",
            "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789",
            "passwordField.setText(\"hello\")",
            "access_token_url = \"https://auth.example.com/token\"",
            "token_type: bearer",
            "git@github.com:org/sk-learn.git",
        ],
    );
}

/// Words before a number: whole, and right before it, or they say nothing of it.
#[test]
fn words_near_numbers() {
    check(
        "credit_card",
        &[
            "order ⟨4111 1111 1111 1111⟩",
            "id=⟨4111 1111 1111 1111⟩",
            "customer id 7 gave us ⟨5555 5555 5555 4444⟩",
            "Invoice 2024-1\nBill to: Jane Doe\n⟨5555555555554444⟩",
            "in order to pay: ⟨5555555555554444⟩",
            "invoice no. 5555555555554444",
            "order_id: \"5555555555554444\"",
        ],
    );
    check(
        "ssn",
        &[
            "item 3: ⟨219-09-9998⟩",
            "in order to verify, ⟨219-09-9998⟩",
            "Partner ⟨219-09-9998⟩",
            "ticket 99: customer ⟨219-09-9998⟩",
            "item no. 219-09-9998",
            "{\"part_number\": \"219-09-9998\"}",
            "ORDERS: 219-09-9998",
        ],
    );
    check(
        "phone",
        &[
            "Partner: Bob, ⟨212-555-0187⟩",
            "Portland office ⟨212-555-0187⟩",
            "Account manager: Bob, ⟨415-555-0132⟩",
            "Case 4711: please ring ⟨212-555-0187⟩",
            "name,phone,order\nJane,⟨415-555-0132⟩,1",
            "orderId: 212-555-0187",
            "Ref. 212-555-0187",
        ],
    );
}

/// A comma after a digit separates thousands only where an amount goes on.
#[test]
fn lists_of_numbers() {
    check("ssn", &["id,ssn\n1001,⟨219-09-9998⟩", "⟨219-09-9998⟩,⟨449-31-2288⟩"]);
    check(
        "phone",
        &[
            "7,⟨(212) 555-0187⟩",
            "[1,⟨212-555-0187⟩]",
            "⟨212.555.0187⟩,⟨415.555.0188⟩",
            "2024-01-02,⟨212-555-0187⟩",
            "Zip 10001,⟨212-555-0187⟩",
            "phone,9,⟨212 555 0187⟩",
            "9,212 555 0187",
            "1,234,567,890",
        ],
    );
}

/// A written escape before a value, as in source text and JSON that was pasted, is no letter of it.
#[test]
fn values_behind_written_escapes() {
    for escape in ["\\n", "\\t", "\\r", "\\b", "\\\\n", "\\u003d", "\\x3d", "\\u0027", "\\x20", "\\u0020"] {
        let of = |text: &str| format!("x{escape}{text}");
        let check = |kind: &str, text: &str| check(kind, &[&of(text)]);
        check("secret", "⟨ghp_q8Zr2LmX0vT5bNc7KpWd3HsYfJ6gRa1uEo9i⟩");
        check("secret", "⟨AKIAZ7Q2MXKPVLW4NDTR⟩");
        check("secret", "⟨-----BEGIN PRIVATE KEY-----\\nMIIEvQIBADANBgkqhkiG9w0B⟩");
        check("secret", "⟨eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozj⟩");
        check("email", "⟨eva@firma.de⟩");
        check("iban", "⟨DE89 3704 0044 0532 0130 00⟩");
        check("credit_card", "⟨4111 1111 1111 1111⟩");
        check("phone", "⟨212-555-0187⟩");
        check("credit_card", "⟨4111111111111111⟩");
        check("ssn", "⟨219-09-9998⟩");
        check("ip_address", "⟨203.0.113.77⟩");
        check("ip_address", "⟨2001:db8:85a3::8a2e:370:7334⟩");
        check("ip_address", "⟨fe80::8a2e:370:7334⟩");
    }
    check(
        "secret",
        &[
            "tasknghp_q8Zr2LmX0vT5bNc7KpWd3HsYfJ6gRa1uEo9i",
            "\\wghp_q8Zr2LmX0vT5bNc7KpWd3HsYfJ6gRa1uEo9i",
            "u003dAKIAZ7Q2MXKPVLW4NDTR",
        ],
    );
    check("credit_card", &["n4111 1111 1111 1111", "\\u03d4111 1111 1111 1111"]);
}

/// A value in quotes ends where they close, one without them at a space, or where the next name begins.
#[test]
fn values_of_names_are_found_to_their_end() {
    check(
        "secret",
        &[
            "password: \"⟨Abcd3f x9Qmzz⟩\"",
            "MAIL_PASSWORD=\"⟨abcd efgh ijkl mnop⟩\"",
            "\"password\": \"⟨Abcd3f\\\"x9Qmzz⟩\", \"user\": \"bob7\"",
            "{\"a\":\"{\\\"password\\\":\\\"⟨Abcd3fx9⟩\\\",\\\"b\\\":\\\"c7\\\"}\"}",
            "password: '⟨p€ss9w0rd⟩'",
            "password: ⟨Abcd3f&x9Qmzz⟩ end",
            "password: ⟨Abcd3f;x9Qmzz⟩",
            "password: ⟨Abcd3f|x9!Qm,zz⟩\n",
            "password: ⟨p€ss9w0rd⟩!",
            "password=⟨q8Zr2LmX⟩&user=bob7&x=1",
            "password=⟨q8Zr2LmX⟩&token=⟨q8Zr2LmX0vT5bNc7KpWd⟩&x=1",
            "Password=⟨q8Zr2LmX⟩;Secret=⟨q8Zr2LmX0vT5bNc7KpWd⟩;",
            "password=⟨q8Zr2LmX⟩, then 2",
            "f(password=⟨q8Zr2LmX⟩,)",
            "login(password=⟨q8Zr2LmX⟩, user=bob2)",
            "password: \"Must have 8 characters, 1 digit!\"",
            "the password's value, 'as of 2024, is' unknown",
            "password 'is not closed 42!\nx'",
        ],
    );
}

/// `pass` is a verb, a ticket and the result of a test as well; `pwd` a folder.
#[test]
fn what_is_named_like_a_password_and_is_none() {
    check(
        "secret",
        &[
            "DB_PASS=⟨S3cure-Pa55⟩",
            "PASS=⟨S3cure-Pa55⟩",
            "user: bob, pass: ⟨hunter2x⟩",
            "\"pass\": \"⟨hunter2x⟩\"",
            "PWD=⟨q8Zr2LmX⟩",
            "--- PASS: TestParseV2 (0.00s)",
            "PASS: tests/t0001-init.sh",
            "PASS: TestFoo3",
            "pass `-Zbuild-std` to cargo",
            "pass \"iso-8859-1\" to decode",
            "pass `x86_64` and `foo(bar1)`",
            "Boarding pass: LH1234",
            "Mountain pass: route66 closed",
            "the pass is lane12",
            "PWD=/home/user1/project-2",
            "OLDPWD=/builds/group/app2/src",
            "password: ***REMOVED***",
            "password: \"required|string|min:8\"",
            "password: auth.errors.password2Short",
            "if password == password2:",
            "secret: my-tls-cert-2024",
            "token: 128k-context",
            "secret: projects/p1/secrets/s2/versions/3",
            "pub Token: D3DKMT_PRESENTHISTORYTOKEN_0,",
            "CredentialKey: MSV1_0_CREDENTIAL_KEY",
            "let raw_private_key: Curve25519SeedBin = x",
        ],
    );
}

/// How people and files name a secret, and what they put between the name and the value.
#[test]
fn names_and_what_joins_them_to_values() {
    check(
        "secret",
        &[
            "Passwort: ⟨Sommer2024!Kx⟩",
            "Kennwort: ⟨Sommer2024!Kx⟩",
            "mot de passe : ⟨Sommer2024!Kx⟩",
            "contraseña: ⟨Sommer2024!Kx⟩",
            "senha: ⟨Sommer2024!Kx⟩",
            "pass phrase: ⟨Sommer2024!Kx⟩",
            "API key: ⟨q8Zr2LmX0vT5bNc7KpWd⟩",
            "the api key is ⟨q8Zr2LmX0vT5bNc7KpWd⟩",
            "MASTER_KEY=⟨9f86d081884c7d659a2feaa0c55ad015⟩",
            "secret_key_base: ⟨9f86d081884c7d659a2feaa0c55ad0159f86d081⟩",
            "Ocp-Apim-Subscription-Key: ⟨9f86d081884c7d659a2feaa0c55ad015⟩",
            "**Password:** ⟨Sommer2024!Kx⟩",
            "**Password**: `⟨Sommer2024!Kx⟩`",
            "| password | ⟨Sommer2024!Kx⟩ |",
            "Password - ⟨Sommer2024!Kx⟩",
            "password -> ⟨Sommer2024!Kx⟩",
            "password\t⟨Sommer2024!Kx⟩",
            "password: |\n  ⟨Sommer2024!Kx⟩",
            "- name: DB_PASSWORD\n  value: ⟨Sommer2024!Kx⟩",
            "{\"name\":\"DB_PASSWORD\",\"value\":\"⟨Sommer2024!Kx⟩\"}",
            "<add key=\"Password\" value=\"⟨Sommer2024!Kx⟩\"/>",
            "run --password ⟨Sommer2024x⟩ --user joe2",
            "ENV API_TOKEN ⟨q8Zr2LmX0vT5bNc7KpWd3HsYfJ6g⟩",
            "machine a.com login joe password ⟨Sommer2024!Kx⟩",
            "setPassword(\"⟨Sommer2024!Kx⟩\")",
            "secret token=⟨q8Zr2LmX0vT5bNc7KpWd⟩",
            "the password reset link v2.1-beta is below",
            "password authentication uses SCRAM-SHA-256",
            "token 8f14e45fceea",
            "a secret santa2024 party",
            "--password-file /run/secrets/db",
            "- name: DB_PASSWORD\n  valueFrom: {secretKeyRef: {name: db2-Pass}}",
            "| token | string | the token of v2Api |",
            "password\tvarchar(255)",
            "passed -> 12 of 14",
            "setPassword(user.password2)",
        ],
    );
}

/// A private key in source text, comments, quotes and listings is found to its last line.
#[test]
fn wrapped_private_keys() {
    const LINES: [&str; 3] = [
        "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC5lkl5jYwOVPdCHNR5cYCJY4KaCC4bMOv",
        "QzG8j3d6YJHjFlSykSPaGZ7YSG8a2ZxATQmKyUQAv9E9L7Nku5ymr5nYQYN0aLSu",
        "Ab3==",
    ];
    let (rules, policy) = engine(|_| Action::Mask);
    let begin_end = ("-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----");
    let ssh = (
        "---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\nComment: \"x\"",
        "---- END SSH2 ENCRYPTED PRIVATE KEY ----",
    );
    let pgp = (
        "-----BEGIN PGP PRIVATE KEY BLOCK-----\nComment: Joe's key <joe@corp.com>\n",
        "-----END PGP PRIVATE KEY BLOCK-----",
    );
    for (begin, end) in [begin_end, ssh, pgp] {
        for (before, after) in [
            ("", "\n"),
            ("# ", "\n"),
            (" * ", "\n"),
            ("'", "\\n'\n"),
            ("12: ", "\n"),
            ("", "<br>"),
            ("['", "',\n"),
            ("> ", "\\r\\n"),
            ("\"", "\\n\" +\n  "),
        ] {
            let lines: String = [begin, LINES[0], LINES[1], LINES[2], end]
                .map(|line| format!("{before}{line}{after}"))
                .concat();
            let text = format!(
                "{lines} and then more of it, which is no key, whatever stands there: see the manual, chapter two."
            );
            let mut found = Vec::new();
            rules.scan(&policy, &text, &mut found);
            let covered = |part: &str| {
                let at = text.find(part).expect("is there");
                found.iter().any(|f| f.span.start <= at && at + part.len() <= f.span.end)
            };
            assert!(LINES.iter().all(|line| covered(line)), "{text}");
            assert!(!covered("and then more of it"), "{text}");
        }
    }
    check(
        "secret",
        &[
            "if key.startswith(\"-----BEGIN PRIVATE KEY-----\"): return loadThePrivateKeyOf(key)",
            "-----BEGIN PRIVATE KEY----- is the first line, -----END PRIVATE KEY----- the last of 27",
        ],
    );
}

/// A word and a colon before an IPv6 address are no part of it; what only looks like two groups of one is none.
#[test]
fn ipv6_behind_words() {
    check(
        "ip_address",
        &[
            "IPv6:⟨2a02:8071:b81::12ab⟩",
            "addr:⟨2a02:8071:b81::12ab⟩",
            "Received: from x ([IPv6:⟨2607:f8b0:4864:20::632⟩])",
            "X-Real-IP:⟨2a02:8071:b81::12ab⟩",
            "地址：⟨2a02:8071:b81::12ab⟩",
            "from ⟨2A02:8071:B81::1⟩: no route",
            "IP6 ⟨2001:4860:4860::8844⟩.53 > x",
            "⟨fe80::1ff:fe23:4567:890a%br-lan⟩, and",
            "⟨fe80::1ff:fe23:4567:890a%eth0.100⟩.",
            "c::B50, add::add2, dec::f64, bed::300, Fe::Fe2, 1024::8",
            "EUI-64 00:1B:44:11:3A:B7:00:01",
            "std::abc::def1::x",
            "x:1:2",
        ],
    );
}

/// Any scheme, in any case; a token in the place of user and password.
#[test]
fn urls_with_credentials() {
    check(
        "secret",
        &[
            "⟨mysql2://app:Xk9mmQ7z@h/db⟩",
            "(⟨postgresql+psycopg://app:Xk9mmQ7z@h/db⟩)",
            "url=⟨nats://joe:Xk9mmQ7z@h:4222⟩ x",
            "⟨rtsp://admin:Xk9mmQ7z@10.0.0.9/s⟩",
            "⟨HTTPS://app:Xk9mmQ7z@h/db⟩",
            "jdbc:⟨oracle://app:Xk9mmQ7z@h/db⟩",
            "⟨amqps://u:Xk9mmQ7z@_srv.h/x⟩",
            "⟨postgres://app:Pa55;x(y)@h/db⟩",
            "git clone ⟨https://9f86d081884c7d659a2feaa0c55ad0159f86d081@git.corp.io/x⟩",
            "http://h:80;me@corp.com",
            "amqp://guest:guest@localhost:5672",
            "https://alice.liddell@corp.com/x",
            "https://my-long-service-account-name@corp.com/x",
            "://app:Xk9mmQ7z@h",
        ],
    );
}

/// The name of the header and its schemes in any case, however many spaces stand between.
#[test]
fn authorization_headers() {
    check(
        "secret",
        &[
            "authorization: bearer ⟨q8Zr2LmX0vT5bNc7KpWd3HsY⟩",
            "AUTHORIZATION: BEARER  ⟨q8Zr2LmX0vT5bNc7KpWd3HsY⟩",
            "Authorization:\tBearer\t⟨q8Zr2LmX0vT5bNc7KpWd3HsY⟩",
            "Authorization: Token ⟨9f86d081884c7d659a2feaa0c55ad0159f86d081⟩",
            "Authorization: ApiKey ⟨q8Zr2LmX0vT5bNc7KpWd3HsY⟩",
            "Authorization: GenieKey ⟨9f86d081-884c-4d65-9a2f-eaa0c55ad015⟩",
            "Authorization: ⟨q8Zr2LmX0vT5bNc7KpWd3HsYq8Zr2LmX⟩",
            "\"Authorization\": \"Token ⟨9f86d081884c7d659a2feaa0c55ad0159f86d081⟩\"",
            "curl -H 'Authorization: token ⟨9f86d081884c7d659a2feaa0c55ad0159f86d081⟩' x",
            "Authorization: Bearer $TOKEN",
            "authorization: required for all of the v2 endpoints",
            "Authorization: Token authentication-is-described-below",
        ],
    );
}

/// National numbers need a word for them nearby; dates, clocks, amounts and dumps near such words are none.
#[test]
fn national_phones() {
    check(
        "phone",
        &[
            "Mobil: ⟨0151 12345678⟩",
            "Mobil ⟨015112345678⟩",
            "Rufnummer ⟨069 13645678⟩, Durchwahl ⟨069 13645679⟩",
            "Sie erreichen uns unter ⟨0171 2345678⟩",
            "Tel.: ⟨030 1234567-89⟩",
            "Tél : ⟨01 42 68 53 00⟩",
            "joignable au ⟨06 12 34 56 78⟩",
            "Teléfono: ⟨91 123 45 67⟩",
            "móvil ⟨612 345 678⟩",
            "Tel. ⟨(55) 1234-5678⟩",
            "tel ⟨(11) 91234-5678⟩",
            "手机⟨13812345678⟩",
            "电话：⟨021-88886666-8012⟩",
            "电话⟨0755-86013388⟩",
            "ＴＥＬ：⟨０３－１２３４－５６７８⟩",
            "フリーダイヤル⟨0120-123-456⟩",
            "call 2024-06-15 09:00",
            "call 2024-06-15 09",
            "Call scheduled for 2024-06-15 09:00",
            "Phone call 06/15/2024 09:00 AM",
            "Telefontermin am 05.06.2024 09:00",
            "电话会议 2024-06-15 09:00",
            "RPC call failed\n2024-06-15 07:00:01,123 ERROR x",
            "calls fixed\n## 0.1.9 (2015-02-03)",
            "call at 07:00:00.123456789-04:00",
            "the number is 0.123456789",
            "we reach 350 000 000 people",
            "call volume 123 456 789",
            "cellular 900 1800 1900 MHz",
            "calls: 120.345.678",
            "mobile app 612 345 678",
            "tel 17 30 0151 12345678",
        ],
    );
}

/// What is easily missed, and what is easily mistaken.
mod hard {
    use super::check;

    #[test]
    fn emails() {
        check(
            "email",
            &[
                "⟨иван@пример.укр⟩",
                "⟨josé@bücher.ch⟩",
                "⟨山田太郎@例え.jp⟩",
                "⟨jane.doe@παράδειγμα.gr⟩",
                "⟨o'brien@corp.ie⟩'s mail",
                "'⟨alice@corp.com⟩'",
                "‘⟨alice@corp.com⟩’",
                "⟨alice@corp.com⟩",
                "⟨alice@corp.com⟩,⟨bob@corp.com⟩;⟨carol@corp.com⟩",
                "⟨alice@corp.com⟩/⟨bob@corp.com⟩",
                "a=⟨alice%2Bx@corp.com⟩",
                "__⟨alice@corp.com⟩",
                "npm i @scope/pkg@1.2.3 left-pad@latest",
                "pkg@^1.2.3 pkg@~4.5 pkg@v2.beta",
                "'@alice.smith' and \"@bob.io\"",
                "thanks @alice.dev!",
                "@media screen and (max-width:100px)",
                "user@host:~/src$ make",
                "x@y",
                "kernel@5.15.0-91-generic",
                "render@chunk.app.js:10:5",
                "systemctl start getty@tty1.service",
                "docker pull img@sha256:9f86d081884c7d659a2feaa0c55ad015",
            ],
        );
    }

    #[test]
    fn phones() {
        check(
            "phone",
            &[
                "call⟨+12125550123⟩",
                "Tel⟨+44 20 7946 0958⟩",
                "call⟨(212) 555-0123⟩",
                "请打⟨+86 139 1234 5678⟩联系",
                "電話⟨212-555-0123⟩まで",
                "请致电⟨(212) 555-0123⟩。",
                "⟨（２１２） ５５５－０１２３⟩",
                "⟨２１２－５５５－０１２３⟩",
                "⟨212-555-0123 ext. 1234567⟩",
                "⟨(212) 555-0123 extension 98765⟩",
                "⟨+1 212 555 0123, ext. 45⟩",
                "⟨212.555.0123;ext=45⟩",
                "⟨212-555-0123 #45⟩",
                "⟨+1 (212) 555-0123 x 45⟩",
                "tel:⟨+1-212-555-0123⟩",
                "(⟨+1 212 555 0123⟩)",
                "(⟨212 555 0123⟩)",
                "call me(⟨212-555-0123⟩)",
                "**⟨212-555-0123⟩**",
                "*⟨+44 20 7946 0958⟩*",
                "1) ⟨212-555-0123⟩\n2) ⟨212-555-0124⟩",
                "<td>⟨212-555-0123⟩</td>",
                "phone #⟨212-555-0123⟩",
                "⟨+442079460958⟩ or ⟨+33123456789⟩",
                "⟨212-555-0123⟩/⟨212-555-0124⟩",
                "⟨212-555-0123⟩, ⟨212-555-0124⟩ or ⟨(212) 555-0125⟩",
                "home:⟨212-555-0123⟩",
                "⟨+1.212.555.0123⟩",
                "⟨+1/212/555/0123⟩",
                "⟨+49 (0) 30 901820⟩",
                "⟨+49-30-901820⟩",
                "⟨+49 30/901820⟩",
                "⟨0049 30 901820⟩",
                "⟨011 44 20 7946 0958⟩",
                "⟨+1\u{a0}212\u{a0}555\u{a0}0123⟩",
                "⟨+1\u{2011}212\u{2011}555\u{2011}0123⟩",
                "⟨+1 212 – 555 – 0123⟩",
                "{\"id\":7,\"phone\":\"⟨2125550123⟩\"}",
                "phone 2: ⟨212-555-0123⟩",
                "Phone number(s): ⟨212 555 0123⟩",
                "\"⟨+12125550123⟩\"",
                "call ⟨212-555-0123⟩!",
                "exp 1700000000, iat 1712345678",
                "time=1712345678.123",
                "[2125550123.000001] usb",
                "proc[2125550123]: exit",
                "pid=2125550123 tid=2125550124",
                "37.774929,-122.419418",
                "lat 40.7127760 lon -74.0059740",
                "ISBN 0-306-40615-2",
                "ISBN 0306406152",
                "0-19-852663-6",
                "x = 212-555-0123456",
                "n = 2125-550-123",
                "y=800-555",
                "total 212 555 0123,50 EUR",
                "€212 555 012",
                "USD 2,125,550,123",
                "2125550123 bytes",
                "0x2125550123",
                "212-555-0123-4567",
                "a-212-555-0123",
                "2024-555-0123",
                "10.212.555.0123",
                "1e2125550123",
                "+2125550123 -2125550124",
                "@@ -1,7 +1,7 @@",
                "i += 2125550123",
                "offset +2125550123",
                "user_id=2125550123",
                "order 212-555-0123",
                "7d5f8c-212-555-0123-abc",
            ],
        );
    }

    #[test]
    fn cards() {
        check(
            "credit_card",
            &[
                "⟨2223000048400011⟩",
                "⟨2223 0000 4840 0011⟩",
                "⟨6304 0000 0000 0000⟩",
                "⟨6759 6498 2643 8453⟩",
                "⟨5018-0000-0009⟩",
                "⟨501800000009⟩",
                "⟨3566002020360505⟩",
                "⟨3566 0020 2036 0505⟩",
                "card no. ⟨135410014004955⟩",
                "⟨4000 0000 0000 0000 006⟩",
                "⟨4000000000000000006⟩",
                "⟨4111111111111111⟩ ⟨4111-1111-1111-1111⟩ ⟨4111 1111 1111 1111⟩",
                "⟨4111 1111 1111 1111⟩ ⟨5555 5555 5555 4444⟩",
                "⟨4111-1111-1111-1111⟩/⟨5555-5555-5555-4444⟩",
                "**⟨4111111111111111⟩**",
                "1) ⟨4111111111111111⟩",
                "card #⟨4111111111111111⟩",
                "{\"id\":7,\"card\":\"⟨4111111111111111⟩\"}",
                "{\"id\": 7, \"value\": \"⟨4111111111111111⟩\"}",
                "号码⟨4111111111111111⟩。",
                "⟨3782-822463-10005⟩",
                "⟨4111 1111 1111 1111⟩ 123 12/27",
                "1712345674 2024",
                "1700000009 2026",
                "d=\"M4.111111111111111 5.1\"",
                "blk_4111111111111111",
                "block 4111111111111111",
                "IMEI: 490154203237518",
                "imei 35-209900-176148-1",
                "trace_id=4111111111111111",
                "\"id\": 4111111111111111",
                "4111111111111111.5",
                "0x4111111111111111",
                "4111-1111-1111-1112",
                "4006381333931",
                "EAN 4006381333931",
                "1712345678901234",
                "-4111111111111111e5",
            ],
        );
    }

    #[test]
    fn addresses() {
        check(
            "ip_address",
            &[
                "⟨::ffff:192.0.2.128⟩",
                "⟨64:ff9b::192.0.2.33⟩.",
                "⟨fe80::1%eth0⟩",
                "⟨fe80::1%en0/64⟩",
                "⟨2001:db8::/32⟩",
                "http://[⟨2001:db8::1⟩]:8080/",
                "listen [⟨::1⟩]:8080",
                "http://[⟨::1⟩]:8080/",
                "ping ⟨::1⟩",
                "my ip: ⟨::1⟩",
                "⟨::1⟩",
                "host=⟨::1⟩ port=5432",
                "\"⟨::1⟩\"",
                "⟨::1⟩ localhost",
                "<td>⟨203.0.113.9⟩</td>",
                "value: ⟨203.0.113.9⟩",
                "⟨203.0.113.9⟩, ⟨198.51.100.7⟩",
                "⟨203.0.113.9⟩:443",
                "ip ⟨203.0.113.9⟩",
                "来自⟨203.0.113.9⟩的",
                "⟨２０３．０．１１３．９⟩",
                "⟨203.0.113.0/24⟩",
                "name-1.2.3.4.tgz",
                "pkg==1.22.33.44",
                "pkg>=1.22.33.44,<2.0.0.0",
                "pkg>1.22.33.44",
                "\"version\": \"10.22.33.44\"",
                "Firefox/120.10.20.30",
                "a[::2], a[::-1], a[1::3]",
                "x[::1]",
                "s![.., ::1]",
                "std::abs(x), a::b::c, d::e",
                "p::first-line, a::after { }",
                "Foo::1",
                "aa:bb:cc:dd:ee:ff",
                "cafe::babe",
                "10:20::30",
                "1:0:1:0:1:0:1:0",
                "countryName 2.5.4.6, keyUsage 2.5.29.15",
            ],
        );
    }

    #[test]
    fn accounts() {
        check(
            "iban",
            &[
                "⟨DE 89370400440532013000⟩",
                "⟨DE89 370400440532013000⟩",
                "⟨DE89 3 7 0400440532 013000⟩",
                "⟨de89 3704 0044 0532 0130 00⟩",
                "⟨GB82west12345698765432⟩",
                "⟨FR1420041010050500013M02606⟩",
                "IBAN:⟨DE89370400440532013000⟩",
                "⟨DE89370400440532013000⟩/COBADEFFXXX",
                "请汇⟨DE89 3704 0044 0532 0130 00⟩谢谢",
                "⟨ＤＥ８９３７０４００４４０５３２０１３０００⟩",
                "DE89A704004405320130001",
                "GB33 1234 1234 5698 7654 32",
                "NL18 1234 0417 1643 00",
                "DE89370400440532013000A",
                "id_DE89370400440532013000",
            ],
        );
    }

    #[test]
    fn social_security_numbers() {
        check(
            "ssn",
            &[
                "⟨219 09 9998⟩",
                "SSN#⟨219-09-9998⟩",
                "SSN:⟨219099998⟩",
                "**⟨219-09-9998⟩**",
                "1) ⟨219 09 9998⟩",
                "社保⟨219-09-9998⟩号",
                "⟨２１９－０９－９９９８⟩",
                "<ssn>⟨219-09-9998⟩</ssn>",
                "219-09-99981",
                "219-09-9998-3",
                "X219-09-9998",
                "219-09-9998A",
                "SKU 219-09-9998",
                "12 219 09 9998 44",
                "219 09 99981",
            ],
        );
    }

    #[test]
    fn secrets() {
        check(
            "secret",
            &[
                "<password>⟨S3cure-Pa55⟩</password>",
                "set token \"⟨q8Zr2LmX0vT5bNc7KpWd⟩\"",
                "the password is ⟨hunter2!x⟩",
                "redis_pass: ⟨q8Zr2LmX⟩",
                "token := \"⟨q8ZrLmXvTbNcKpWdGh⟩\"",
                "password=⟨pKwZqLmXvT⟩ sslmode=require",
                "jdbc:postgresql://db/app?user=a&password=⟨q8Zr2LmX⟩&ssl=true",
                "Server=db;User Id=a;Password=⟨q8Zr2LmX⟩;Encrypt=true",
                "⟨mongodb://a:%23q8Zr2@db/app⟩",
                "the password is required",
                "the secret is out",
                "token > 5 && token < 10",
                "Map<String, Token> tokens = new HashMap<>()",
                "pass = 12 / 15, pass: true",
                "pass the parameters as-is",
                "password: 'My' + 'Password'",
                "sk-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
                "AKIAXXXXXXXXXXXXXXXX",
                "ghp_000000000000000000000000000000000000",
                "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
                "secret = app.config.secret_key",
                "token = \"{{ token }}\"",
                "api_key = $OPENAI_API_KEY",
                "API_KEY: !secret api_key",
                "alphabet = \"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ\"",
                "secret_version = 2024.01.02-rc1",
                "integrity sha512-v2kDEe57lecTulaDIuNTPy3Ry4gLGJ6Z1O3vE1krgXZNrsQ+LFTGHVxVjcXPs17LhbZVGedAJv8XZ1tvj5FvSg==",
                "checksum = \"9f86d081884c7d659a2feaa0c55ad0159f86d081884c7d659a2feaa0c55ad015\"",
                "h1:uH3vGBRpZyTfgVAgyK/gBWcbN7K3rv6FSJkzjNf1ZCA=",
            ],
        );
    }
}
