"""A shop in Django, as far as its tests need it."""
import os

DATABASES = {"default": {
    "ENGINE": "django.db.backends.postgresql",
    "NAME": "shop",
    "USER": "shop_test",
    "HOST": os.environ.get("PGHOST", ""),
    "PORT": os.environ.get("PGPORT", ""),
    "TEST": {"TEMPLATE": "shop_template"},      # examples/testing/template.sql
}}
INSTALLED_APPS = ["shop"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
SECRET_KEY = "of a test"
USE_TZ = True
