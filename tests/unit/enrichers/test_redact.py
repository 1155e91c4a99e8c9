"""What a redactor must hide, and what it must leave alone because people search by it."""

from __future__ import annotations

import string
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.enrichers.redact import HIDDEN, MAX_FINDS, Redactor
from receiver.model import Alert, AlertStatus

JWT = "eyJhbGciOiJSUzI1NiIsImtpZCI6Ing.eyJpc3MiOiJrdWJlcm5ldGVzL3NlcnZpY2VhY2NvdW50.c2lnbmF0dXJlLW9mLXRoZS10b2tlbg"
KEY_BODY = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj"
BEGIN, END = "-----BEGIN RSA PRIVATE KEY-----", "-----END RSA PRIVATE KEY-----"
RECOVERY = "123456-234567-345678-456789-567890-678901-789012-890123"

PLANTED = [
    # URLs and connection strings
    ("https://admin:S3cr3t!@vcenter.example.com/sdk", "S3cr3t!"),
    ("vpx://svc-mtv%40vsphere.local:hunter2x@vcenter/DC1", "hunter2x"),
    ("proxy http://proxyuser:pr0xy-pw@proxy.example.com:3128 refused", "pr0xy-pw"),
    ("postgres://mtv:p@ssw0rd@db/mtv", "p@ssw0rd"),
    ("cifs://DOM;user:Sm8pass@filer/share", "Sm8pass"),
    ("redis://:onlypass9@cache:6379", "onlypass9"),
    ("mtv:dsnpass7@tcp(db:3306)/mtv", "dsnpass7"),
    ("GET https://x/blob?sv=1&sig=Zm9vYmFyYmF6&se=2", "Zm9vYmFyYmF6"),
    ("GET https://x/?access_token=abc123def&x=1", "abc123def"),
    ("GET https://s3/b?X-Amz-Signature=deadbeef77&a=b", "deadbeef77"),
    ("POST https://hooks.slack.com/services/T000/B000/XXYYZZ11", "T000/B000/XXYYZZ11"),
    # Headers
    (f"Authorization: Bearer {JWT}", JWT),
    ("Authorization: Bearer sha256~AbCdEf0123456789AbCdEf", "AbCdEf0123456789AbCdEf"),
    ("authorization: Basic YWRtaW46czNjcjN0", "YWRtaW46czNjcjN0"),
    ("Authorization: Token 0123456789abcdef", "0123456789abcdef"),
    ("Authorization: opaque-1234-token-value", "opaque-1234-token-value"),
    ('{"Authorization":["Bearer abcdef0123456789"]}', "abcdef0123456789"),
    ("Proxy-Authorization: Basic cHJveHk6cHc=", "cHJveHk6cHc="),
    ("curl -H 'Authorization: Bearer q1w2e3r4t5'", "q1w2e3r4t5"),
    ("sent bearer 0a1b2c3d4e5f60718293 to server", "0a1b2c3d4e5f60718293"),
    ("using Basic dXNlcjpwYXNzd29yZA== for login", "dXNlcjpwYXNzd29yZA=="),
    ('Cookie: vmware_soap_session="52ab-77cd"; Path=/', "52ab-77cd"),
    ("Set-Cookie: session=s%3Aabcdef; HttpOnly", "s%3Aabcdef"),
    ("vmware-api-session-id: 7f6e5d4c3b2a", "7f6e5d4c3b2a"),
    ("X-Auth-Token: gAAAAABkeystonetoken", "gAAAAABkeystonetoken"),
    ("PRIVATE-TOKEN: abcDEF123456", "abcDEF123456"),
    # JSON, YAML, Go and shell forms
    ('{"password":"hunter2"}', "hunter2"),
    ('{"password" : "with \\"quote\\" inside"}', "quote"),
    ('{"level":"info","msg":"Unauthorized","token":"sha256~FAKE-TOKEN-FOR-REDACTION-TESTS"}', "FAKE-TOKEN-FOR"),
    ('{"userPassword":"a b c"}', "a b c"),
    ('msg="{\\"password\\":\\"escaped7\\"}"', "escaped7"),
    ("password: correct-horse", "correct-horse"),
    ('password: "correct horse"', "correct horse"),
    ("password: 'single q'", "single q"),
    ("password: |\n  multiline7\n", "multiline7"),
    ("passwd=abc123", "abc123"),
    ("PASSWORD=abc123", "abc123"),
    ("export DB_PASSWORD='s p a c e'", "s p a c e"),
    ("PGPASSWORD=pgpass99 psql", "pgpass99"),
    ("{Username:admin Password:S3cr3t Insecure:true}", "S3cr3t"),
    ("Password=Win$ecret1;Server=db", "Win$ecret1"),
    ("pwd=qwerty12", "qwerty12"),
    ("client_secret=cs-123-456", "cs-123-456"),
    ("clientSecret: cs-123-456", "cs-123-456"),
    ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
    ("AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPLE"),
    ("found key ASIAIOSFODNN7EXAMPLE in env", "ASIAIOSFODNN7EXAMPLE"),
    ("api_key: 9f8e7d6c", "9f8e7d6c"),
    ("apikey=9f8e7d6c", "9f8e7d6c"),
    ("X-Api-Key: 9f8e7d6c", "9f8e7d6c"),
    ("access-key: AK99", "AK99"),
    ("accessToken: at-5566", "at-5566"),
    ("refresh_token=rt-5566&grant_type=x", "rt-5566"),
    ("session_id=4d3c2b1a", "4d3c2b1a"),
    ("credentials: user/pass99", "user/pass99"),
    ("luks_key: opensesame7", "opensesame7"),
    ("passphrase: open sesame", "open sesame"),
    ("secret_key_base: 77aa88bb", "77aa88bb"),
    ("'ansible_password' => 'puppet99'", "puppet99"),
    ("routing_key: 0123abcd0123abcd", "0123abcd0123abcd"),
    ("password2=second22", "second22"),
    # Command lines
    ("govc login --password s3cr3t vcenter", "s3cr3t"),
    ("login --token=tok-998877", "tok-998877"),
    ("cli --api-key 998877 list", "998877"),
    ("curl -u admin:adm1npw https://x", "adm1npw"),
    ("curl --user admin:adm1npw https://x", "adm1npw"),
    ("virt-v2v --key /dev/sda2:key:opensesame -i disk", "opensesame"),
    ("nbdkit vddk 'password=nbdpw11' server=x", "nbdpw11"),
    ("machine x login bob password netrc77", "netrc77"),
    ("ALTER USER x IDENTIFIED BY 'sqlpw88'", "sqlpw88"),
    # SOAP
    ("<Login><userName>a</userName><password>soap77</password></Login>", "soap77"),
    ('<ns:password type="x">soap78</ns:password>', "soap78"),
    # By form alone
    (f"token is {JWT} ok", JWT),
    ("ghp_0123456789abcdefghijABCDEFGHIJ012345", "0123456789abcdefghijABCDEFGHIJ012345"),
    ("glpat-ABCdef0123456789xyz", "ABCdef0123456789xyz"),
    ("xoxb-1234567890-abcdefghij", "1234567890-abcdefghij"),
    ("xapp-1-A0123-456-abcdef", "A0123-456-abcdef"),
    (f"{BEGIN}\n{KEY_BODY}\n{KEY_BODY}\n{END}\n", KEY_BODY),
    (f"cut at the end {BEGIN}\n{KEY_BODY}\n{KEY_BODY}", KEY_BODY),
    (f"{KEY_BODY}\n{KEY_BODY}\n{END}\n cut in front", KEY_BODY),
    (f'"key":"{BEGIN}\\n{KEY_BODY}\\n{END}\\n"', KEY_BODY),
    (f"BitLocker recovery: {RECOVERY}", RECOVERY),
]

HARMLESS = [
    "plan 3f0c3d0e-6c55-4f0a-9c1b-0a7a5a2e41d1 failed",
    "image registry.example.com/x@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "--mac 00:50:56:a1:22:02:ip:10.10.20.15,10.10.20.1,24,10.10.0.53",
    "vddk-thumbprint=5A:11:0C:77:DE:AD:BE:EF:00:11:22:33:44:55:66:77:88:99:AA:BB",
    "device naa.624a9370c7e0 not found",
    "wwn 0x5001405b9b9d1c2f",
    "SHA256 fingerprint: 5A:11:0C:77",
    "ssh host key fingerprint SHA256:uNiVztksCsDhcc0u9e8BgrJXVGDjqW",
    "-ic vpx://svc-mtv%40vsphere.local@vcenter-a.example.com/DC1/host/cl1/esx07.example.com?no_verify=1",
    "-ip /etc/secret/secretKey",
    "password_file=/etc/secret/password",
    "--password-file /etc/secret/password",
    "password=+/tmp/vddk-pass",
    "tokenFile: /var/run/secrets/kubernetes.io/serviceaccount/token",
    "token: /var/run/secrets/kubernetes.io/serviceaccount/token",
    "secretRef: crm-warm-2-vm-2203-m6k9q",
    "secretName: erp-wave1-vm-1402-4bq7n",
    '"secret":{"name":"vcenter-a","namespace":"openshift-mtv"}',
    'secret "vcenter-a-secret" not found',
    "secrets is forbidden: User cannot list resource secrets",
    "imagePullSecret: regcred",
    "incorrect username or password",
    "vcenter: incorrect username or password",
    "password: incorrect",
    "could not read password: permission denied",
    "token: invalid signature",
    "token: expired",
    "bearer token expired",
    "Bearer authentication required",
    "Basic authentication failed",
    "Basic information about the guest",
    "authorization mode RBAC",
    "Authorization failed for user mtv",
    "tokenreviews.authentication.k8s.io: 3 requests",
    "max_tokens=4096",
    "key: value",
    "virt-v2v: could not read key from user",
    "--key all:clevis",
    "--key /dev/sda2:file:/etc/luks/key",
    "could not find key to open LUKS encrypted /dev/sda3",
    "https://vcenter-a.example.com:443/sdk",
    "https://console/k8s/ns/x@y",
    "GET /providers/vsphere/5f1b7c62-3a0e-4d53-8a6f-0d7f5c1f2a10/vms?detail=all",
    "I0918 07:13:20.104775       1 importer.go:108] Starting importer",
    "snapshot-5302 previousCheckpoint [52 c7 33 8e 91 0b 44 d2-8b 77 12 5c e0 41 9f 3a/7]",
    "virtual image size 53687091200 is larger than the reported available storage 51002736640",
    "Using username/password authentication for storage",
    "passwordless: true",
    "password: null",
    "password=",
    "token: <redacted>",
    "password: ********",
    "uid 1000690000 gid 0",
    "mailto:someone@example.com",
    "user mtv@vsphere.local",
    "[ds-gold] erp-win01/erp-win01.vmdk",
]


@pytest.mark.parametrize(
    ("text", "secret"), PLANTED, ids=[f"{n}-{secret[:12]!r}" for n, (_, secret) in enumerate(PLANTED)]
)
def test_a_planted_secret_is_hidden(text: str, secret: str) -> None:
    assert secret in text, "the test must plant what it looks for"
    redacted, hidden = Redactor().text(text)
    assert secret not in redacted
    assert HIDDEN in redacted
    assert hidden >= 1


@pytest.mark.parametrize("text", HARMLESS)
def test_what_people_search_by_survives(text: str) -> None:
    assert Redactor().text(text) == (text, 0)


def test_there_are_enough_examples_to_mean_something() -> None:
    assert len(PLANTED) >= 60
    assert len(HARMLESS) >= 40


@pytest.mark.parametrize("text", [text for text, _ in PLANTED])
def test_hiding_twice_changes_nothing(text: str) -> None:
    once, _ = Redactor().text(text)
    assert Redactor().text(once) == (once, 0)


def test_the_user_name_of_a_url_stays() -> None:
    assert Redactor().text("https://admin:S3cr3t!@vc/sdk")[0] == f"https://admin:{HIDDEN}@vc/sdk"


def test_what_follows_a_secret_stays_readable() -> None:
    text = '{"token":"abc123","status":401,"path":"/providers"}'
    assert Redactor().text(text)[0] == f'{{"token":"{HIDDEN}","status":401,"path":"/providers"}}'


def test_an_own_pattern_hides_its_match_or_its_first_group() -> None:
    redactor = Redactor([r"CHG[0-9]+", r"badge (\d+)"])
    assert redactor.text("CHG0048213 by badge 771") == (f"{HIDDEN} by badge {HIDDEN}", 2)


def test_an_own_pattern_that_matches_nothing_visible_changes_nothing() -> None:
    assert Redactor(["x*"]).text("abc") == ("abc", 0)


def test_a_pattern_that_re2_does_not_take_is_refused_with_a_cure() -> None:
    with pytest.raises(ValueError, match="use RE2 syntax"):
        Redactor([r"(?<=a)b"])


def test_a_hostile_text_takes_no_more_than_a_harmless_one_of_its_length() -> None:
    """Backtracking engines need hours for these; that the test ends is the point."""
    for text in (
        "password:" * 20_000,
        "-----BEGIN PRIVATE KEY-----" * 5_000,
        "password=ab " * 200_000,
        "a://b:" * 30_000,
        '"\\' * 100_000,
    ):
        Redactor().text(text)


def test_a_text_of_nothing_but_secrets_is_hidden_to_its_end_and_keeps_its_lines() -> None:
    text = "password=Fake9876 x\n" * (MAX_FINDS + 500)
    shown, hidden = Redactor().text(text)
    assert "Fake9876" not in shown
    assert shown.count("\n") == text.count("\n")
    assert hidden > MAX_FINDS
    assert Redactor().text(shown[-2_000:]) == (shown[-2_000:], 0)


def test_half_a_surrogate_pair_passes_through() -> None:
    assert Redactor(["x+"]).text("\ud83d password=Fake9876") == (f"\ud83d password={HIDDEN}", 1)


def test_an_alert_is_shown_without_secrets_and_keeps_its_fingerprint() -> None:
    at = datetime(2026, 11, 21, 8, tzinfo=UTC)
    labels, link = {"alertname": "X", "url": "https://u:Fake1@h/"}, "https://p/graph?token=Fake2&x=1"
    shown = Redactor().alert(Alert("00ff", AlertStatus.FIRING, labels, {"summary": "pwd=Fake3"}, at, None, link))
    assert shown.labels == {"alertname": "X", "url": f"https://u:{HIDDEN}@h/"}
    assert shown.annotations == {"summary": f"pwd={HIDDEN}"}
    assert shown.generator_url == f"https://p/graph?token={HIDDEN}&x=1"
    assert shown.fingerprint == "00ff"


@given(st.text(), st.text(alphabet=string.ascii_letters + string.digits, min_size=12, max_size=40))
def test_a_password_is_hidden_whatever_stands_before_it(before: str, secret: str) -> None:
    redacted, _ = Redactor().text(f"{before}\npassword={secret}x9Z\n")
    assert f"{secret}x9Z" not in redacted or f"{secret}x9Z" in before
