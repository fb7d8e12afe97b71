"""Secrets in the forms that providers and libraries give them, in addresses, texts and documents."""

import pytest

from eopipe.redact import bare_url, redact, unsign, unsign_document

BLOB = "https://sentinel2l2a01.blob.core.windows.net/sentinel2-l2/06/V/B02.tif"


@pytest.mark.parametrize(
    ("signed", "plain"),
    [
        (f"{BLOB}?st=2023&se=2024&sp=rl&sv=2021-06-08&sr=c&skoid=a&sktid=b&skt=c&ske=d&sig=abc%3D", BLOB),
        ("https://b.s3.amazonaws.com/k.tif?X-Amz-Algorithm=A&X-Amz-Signature=s", "https://b.s3.amazonaws.com/k.tif"),
        ("https://b/k?AWSAccessKeyId=A&Signature=s&Expires=1", "https://b/k"),
        ("https://g.com/b/k?X-Goog-Signature=s&generation=7", "https://g.com/b/k?generation=7"),
        ("https://h/k?Policy=p&Signature=s&Key-Pair-Id=k", "https://h/k"),
        ("https://h/k?token=abc#part", "https://h/k#part"),
        ("https://h/k?a=1&access_token=abc&b=2", "https://h/k?a=1&b=2"),
        ("https://me:secret@h/k.tif", "https://h/k.tif"),
        ("s3://key:secret@bucket/k.tif", "s3://bucket/k.tif"),
        ("https://h/k?versionId=7&se=north", "https://h/k?versionId=7&se=north"),  # alone, se may mean south-east
        ("https://h/wms?service=WMS&expires=never", "https://h/wms?service=WMS&expires=never"),
        ("/vsicurl/https://h/k.tif?sig=abc", "/vsicurl/https://h/k.tif"),
        ("https://h/tiles?url=https%3A%2F%2Fb%2Fk.tif%3Fsig%3Dabc&x=1", "https://h/tiles?url=https%3A%2F%2Fb%2Fk.tif&x=1"),
        ("https://h/t?url=https%3A%2F%2Fb%2Fk.tif%3Fa%3D1", "https://h/t?url=https%3A%2F%2Fb%2Fk.tif%3Fa%3D1"),
        ("../B02.tif", "../B02.tif"),
        ("https://h/user@example.com/k.tif", "https://h/user@example.com/k.tif"),
    ],
)  # fmt: skip
def test_unsign(signed, plain):
    assert unsign(signed) == plain
    assert unsign(plain) == plain


@pytest.mark.parametrize(
    "text",
    [
        f"GET {BLOB}?sv=1&sig=S3CRET failed",
        "cannot open https://me:S3CRET@host/a.tif: 403",
        "Authorization: Bearer S3CRETS3CRET",
        'body {"token": "S3CRET", "msft:expiry": "2024"}',
        "sig=S3CRET&x=1",
        "aws_secret_access_key=S3CRET",
        "/vsicurl/https://h/k.tif?X-Amz-Signature=S3CRET",
        "HTTPConnectionPool(host='h', port=80): Max retries exceeded with url: /a?token=S3CRET (Caused by x)",
        "'https://h/a?X-Amz-Security-Token=S3CRET'",
    ],
)
def test_redact(text):
    assert "S3CRET" not in redact(text)
    assert redact("nothing to hide: https://h/a?b=1") == "nothing to hide: https://h/a?b=1"


SECRET = "S3CRETS3CRET/S3CRET+S3CRET="
REAL = {
    "azure sas": (
        (f"https://acc.blob.core.windows.net/c/B02.tif?sp=r&st=2025-01-01T00:00:00Z&se=2025-01-02T00:00:00Z&spr=https"
        f"&sv=2022-11-02&sr=b&sig={SECRET}"),
        "https://acc.blob.core.windows.net/c/B02.tif",
    ),
    "planetary computer": (
        (f"https://sentinel2l2a01.blob.core.windows.net/sentinel2-l2/06/B02.tif?st=2025-07-30T13%3A19%3A09Z&se=2025-08-01"
        f"&sp=rl&sv=2024-05-04&sr=c&skoid=9c&sktid=72&skt=2025-07-31&ske=2025-08-07&sks=b&skv=2024-05-04&sig={SECRET}"),
        "https://sentinel2l2a01.blob.core.windows.net/sentinel2-l2/06/B02.tif",
    ),
    "aws signature 4": (
        (f"https://b.s3.eu-central-1.amazonaws.com/k.tif?response-content-type=x&X-Amz-Algorithm=AWS4-HMAC-SHA256"
        f"&X-Amz-Credential=AKIA%2F20250101%2Feu-central-1%2Fs3%2Faws4_request&X-Amz-Date=20250101T000000Z"
        f"&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Security-Token={SECRET}&X-Amz-Signature={SECRET}"),
        "https://b.s3.eu-central-1.amazonaws.com/k.tif?response-content-type=x",
    ),
    "aws signature 2": (
        f"https://b.s3.amazonaws.com/k.tif?AWSAccessKeyId=AKIA&Expires=1735689600&Signature={SECRET}",
        "https://b.s3.amazonaws.com/k.tif",
    ),
    "google v4": (
        (f"https://storage.googleapis.com/b/k.tif?X-Goog-Algorithm=GOOG4-RSA-SHA256&X-Goog-Credential=me%40p.iam"
        f"&X-Goog-Date=20250101T000000Z&X-Goog-Expires=900&X-Goog-SignedHeaders=host&X-Goog-Signature={SECRET}"),
        "https://storage.googleapis.com/b/k.tif",
    ),
    "google v2": (
        f"https://storage.googleapis.com/b/k.tif?GoogleAccessId=me@p.iam&Expires=1735689600&Signature={SECRET}",
        "https://storage.googleapis.com/b/k.tif",
    ),
    "cloudfront": (
        f"https://d111.cloudfront.net/k.tif?Expires=1735689600&Signature={SECRET}&Key-Pair-Id=K2JCJMDEHXQW5F",
        "https://d111.cloudfront.net/k.tif",
    ),
    "cloudfront, own policy": (
        f"https://d111.cloudfront.net/k.tif?Policy=eyJTdGF0ZW1lbnQi&Signature={SECRET}&Key-Pair-Id=K2JC",
        "https://d111.cloudfront.net/k.tif",
    ),
    "alibaba": (
        f"https://b.oss-cn-hangzhou.aliyuncs.com/k.tif?OSSAccessKeyId=LTAI&Expires=1735689600&Signature={SECRET}",
        "https://b.oss-cn-hangzhou.aliyuncs.com/k.tif",
    ),
    "user and password": (f"https://me:{SECRET.replace('/', '%2F')}@urs.nasa.gov/k", "https://urs.nasa.gov/k"),
    "a password with an at": ("https://me:S3CRET@S3CRET@host/k.tif", "https://host/k.tif"),
    "keys of s3 in the query": (
        f"s3://bucket/k.tif?access_key=AKIA&secret_key={SECRET}&region=eu",
        "s3://bucket/k.tif?region=eu",
    ),
    "keys of s3, aws names": (
        f"s3://bucket/k.tif?aws_access_key_id=AKIA&aws_secret_access_key={SECRET}&aws_session_token={SECRET}",
        "s3://bucket/k.tif",
    ),
    "a tile server's token": (
        f"https://tiles.example/cog/tiles/1/2/3?bidx=1&access_token={SECRET}",
        "https://tiles.example/cog/tiles/1/2/3?bidx=1",
    ),
    "gdal's name": (f"/vsicurl/https://h/k.tif?sig={SECRET}", "/vsicurl/https://h/k.tif"),
}  # fmt: skip


@pytest.mark.parametrize("form", REAL)
def test_signed_addresses_of_providers(form):
    signed, plain = REAL[form]
    assert unsign(signed) == plain
    for text in (signed, f"GET {signed} said 403", f"cannot open '{signed}': denied", f'{{"href": "{signed}"}}'):
        for queries in (True, False):
            assert "S3CRET" not in redact(text, queries=queries)
            assert redact(redact(text, queries=queries), queries=queries) == redact(text, queries=queries)
    assert bare_url(signed) == plain.partition("?")[0]
    document = {
        "assets": {"a": {"href": signed, "alternate": {"s3": {"href": signed}}}},
        "text": f"see {signed} there",
    }
    clean = {"assets": {"a": {"href": plain, "alternate": {"s3": {"href": plain}}}}, "text": f"see {plain} there"}
    assert unsign_document(document) == clean


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("Authorization: Bearer S3CRETS3CRET", "Authorization: Bearer ***"),
        ("{'Authorization': 'Basic bWU6UzNDUkVUS3CRET=='}", "{'Authorization': 'Basic ***'}"),
        ("authorization: token S3CRET", "authorization: token ***"),
        ("Authorization: AWS4-HMAC-SHA256 Credential=AKIA/x, SignedHeaders=host, Signature=S3CRET",
         "Authorization: AWS4-HMAC-SHA256 ***, SignedHeaders=host, Signature=***"),
        ("sent bearer eyJhbGciOiJIUzI1NiJ9.S3CRET to h", "sent bearer *** to h"),
        ("Set-Cookie: session=S3CRET; CloudFront-Signature=S3CRET", "Set-Cookie: ***"),
        ("machine urs.nasa.gov login me password S3CRET", "machine urs.nasa.gov login me password ***"),
        ("DefaultEndpointsProtocol=https;AccountName=a;AccountKey=S3CRET==;EndpointSuffix=x",
         "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=***;EndpointSuffix=x"),
        ('{"password": "S3CRET, with a comma"}', '{"password": "***"}'),
        (r'"{\"secret_key\": \"S3CRET\"}"', r'"{\"secret_key\": \"***\"}"'),
        ("Ocp-Apim-Subscription-Key: S3CRET", "Ocp-Apim-Subscription-Key: ***"),
        ("failed with url: /a?x=1&api_key=S3CRET (Caused by y)", "failed with url: /a?x=1&api_key=*** (Caused by y)"),
        ("https://me:S3?CRET@host/k", "https://host/k"),
    ],
)  # fmt: skip
def test_secrets_in_texts(text, clean):
    assert redact(text) == clean
    assert redact(clean) == clean
    assert "S3CRET" not in redact(text, queries=False)


def test_a_fault_of_a_read_keeps_no_query_at_all():
    text = "HTTP 404: https://u:S3CRET@h/a(1).tif?x=(S3CRET)|y=S3CRET; did you mean b?"
    assert redact(text, queries=False) == "HTTP 404: https://h/a(1).tif did you mean b?"


@pytest.mark.parametrize(
    "text",
    [
        "is it a STAC API?",
        "the token has expired, and the password is wrong",
        "policy: median; auth is basic; expires: never",
        "eo:cloud_cover < 40; see https://h/wms?service=WMS&expires=never",
        "C:\\data\\a.tif, user@example.com, /home/me@work/x.tif",
    ],
)
def test_plain_words_stay(text):
    assert redact(text) == text
