"""The views for Django as a program; test/clients/handlers.py says what it is asked."""
import json
import os
import sys

import django
import lines
from django.conf import settings
from django.db import transaction
from django.test import RequestFactory

sys.path.insert(0, os.environ["PAYGUARD_SRC"] + "/examples/handlers")
settings.configure(DATABASES={"default": {"ENGINE": "django.db.backends.postgresql", "NAME": "handlers", "USER": "web",
                                          "HOST": "127.0.0.1", "PORT": os.environ["SHOP_PORT"]}},
                   SHOP_CHANNEL="lines", SHOP_WEBHOOK_SECRET=os.environ["SHOP_SECRET"].encode(),
                   DEFAULT_CHARSET="utf-8", ALLOWED_HOSTS=["testserver"])
django.setup()
import python_django  # noqa: E402

requests = RequestFactory()


def reply(response):
    return response.status_code, json.loads(response.content)["state"]


def checkout(order, key):
    return reply(python_django.checkout(requests.post("/", {"key": key}), order))


lines.serve(checkout,
            lambda signature, body: reply(python_django.webhook(
                requests.post("/", body, content_type="application/octet-stream", HTTP_SIGNATURE=signature))),
            transaction.atomic(checkout))
