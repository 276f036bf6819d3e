"""What schemathesis cannot know of the surface: how deliveries are signed, whose shop it is, and rules between parameters.

Read by `tests/openapi.rs`, which sets the environment.
"""

import base64
import hashlib
import hmac
import json
import os

import requests
import schemathesis

SECRET = os.environ["FUZZ_SECRET"].encode()
DOMAIN = os.environ["FUZZ_DOMAIN"]
CURSOR = os.environ["FUZZ_CURSOR"]
RECORD = os.environ["FUZZ_RECORD"]
FILES = {"/docs/{file}": "swagger-ui.css", "/home/{file}": "home.css"}
REDACTIONS = json.loads(os.environ["FUZZ_REDACTIONS"])  # ids by what is to be done with each
EXPORT = os.environ["FUZZ_EXPORT"]  # the id of one that can be fetched
SEVERAL = os.environ["FUZZ_SEVERAL"]  # of one for which somebody has to choose
GRANT = os.environ["FUZZ_GRANT"]
AUDITOR = os.environ["FUZZ_AUDITOR"]  # the id of an auditor's token
TOPICS = ["orders/create", "orders/updated", "refunds/create", "orders/edited", "shop/update", "customers/redact"]


class Signature(requests.auth.AuthBase):
    """Signs the bytes as they are sent."""

    def __call__(self, request):
        body = request.body or b""
        body = body.encode() if isinstance(body, str) else body
        digest = hmac.new(SECRET, body, hashlib.sha256).digest()
        request.headers["X-Shopify-Hmac-Sha256"] = base64.b64encode(digest).decode()
        return request


class MetricsToken(requests.auth.AuthBase):
    """Its own token, whichever role the rest is asked as."""

    def __call__(self, request):
        request.headers["Authorization"] = "Bearer " + os.environ["FUZZ_METRICS_TOKEN"]
        return request


schemathesis.auth.set_from_requests(MetricsToken()).apply_to(path_regex="^/metrics")
schemathesis.auth.set_from_requests(Signature()).apply_to(path_regex="^/webhooks")


def is_valid(case):
    """Whether the data is meant to be accepted."""
    return case.meta is not None and case.meta.generation.mode.is_positive


FACT = base64.urlsafe_b64encode(b"1:1:1").decode().rstrip("=")  # where a page of facts may begin


def moment(text):
    """A position or an instant that there is."""
    return text if text.isdigit() else "2026-11-10T12:00:00Z"


@schemathesis.hook
def before_call(context, case, kwargs):
    """It takes ids from answers: only one redaction is there to be cancelled, else none could be confirmed."""
    if case.operation.path.endswith("/cancel") and "id" in (case.path_parameters or {}):
        case.path_parameters["id"] = REDACTIONS["cancel"]
    elif "/redactions/{id}" in case.operation.path and is_valid(case):
        case.path_parameters["id"] = REDACTIONS[case.operation.path.split("{id}")[1].lstrip("/") or "hold"]
    elif "/exports/{id}" in case.operation.path and is_valid(case):
        case.path_parameters["id"] = SEVERAL if case.operation.path.endswith("/choose") else EXPORT
    elif "/grants/{id}" in case.operation.path and is_valid(case):
        case.path_parameters["id"] = GRANT
    elif "/aggregates/{type}/{id}" in case.operation.path and is_valid(case):
        case.path_parameters.update({"type": "order", "id": "1"})


@schemathesis.hook
def after_call(context, case, response):
    """Which operation was answered how."""
    with open(RECORD, "a") as record:
        print(case.method.upper(), case.operation.path, response.status_code, file=record)


@schemathesis.hook
def map_case(context, case):
    """Valid data keeps the rules that a schema cannot say: days are in order, cursors were answered, names exist."""
    if not is_valid(case):
        return case
    query, path = case.query or {}, case.path_parameters or {}
    if "as_of" in query:
        query["as_of"] = moment(query["as_of"])
    if case.operation.path.endswith("/restatements"):
        # Between two positions, and of days that are in order.
        moments = [name for name in ("from", "to") if name in query]
        query.update(zip(moments, ("1", "3")))
        days = [name for name in ("period_from", "period_to") if name in query]
    else:
        days = [name for name in ("from", "to") if name in query and "/audit/" not in case.operation.path]
    # Of one year that is kept, and near to each other: hours are answered of two months.
    year = 1970 + int(query[days[0]][:4]) % 8000 if days else None
    near = sorted(f"{year}-{11 if query[name][8:] < '16' else 12}{query[name][7:]}" for name in days)
    query.update(zip(days, near))
    if "cursor" in query:
        cursors = {"/api/shops": DOMAIN, "/api/compliance/requests": "9", "/api/dashboard/explain": FACT}
        query["cursor"] = cursors.get(case.operation.path, CURSOR)
    if "X-Shopify-Topic" in (case.headers or {}):
        # Else nearly none would be of a shop that is there, and of a topic that is read.
        case.headers["X-Shopify-Topic"] = TOPICS[len(case.headers["X-Shopify-Topic"]) % len(TOPICS)]
        case.headers["X-Shopify-Shop-Domain"] = DOMAIN
    if "topic" in path and len(path["topic"]) % 3 == 0:
        # It draws none for a path; the database takes none.
        path["topic"] += "\0"
    if "domain" in path and len(path["domain"]) % 2:
        path["domain"] = DOMAIN
    if "file" in path and len(path["file"]) % 2:
        path["file"] = FILES[case.operation.path]
    if case.operation.path == "/api/compliance/exports" and case.method.upper() == "POST":
        case.body = {"customer_id": "7", "reason": "case 12"}
    if "aggregate_id" in query:
        query.update({"aggregate_type": "order", "aggregate_id": "1"})
    if "sequence" in query:
        query["sequence"] = 1
    if case.operation.path.endswith("/grants") and case.method.upper() == "POST":
        case.body = {"token": AUDITOR, "reason": "audit of 2026", "hours": 2}
    # Reasons name nobody, and one person is named in one way.
    if case.operation.path.endswith("/redactions") and case.method.upper() == "POST":
        case.body = {"kind": "customer", "customer_id": "7", "reason": "case 12"}
    if case.operation.path.endswith(("/confirm", "/cancel", "/hold", "/release", "/revoke", "/renew")):
        case.body = {"reason": "tax audit"}
    if case.operation.path.endswith("/choose"):
        case.body = {"subjects": ["customer:96"], "reason": "seen by letter"}
    return case
