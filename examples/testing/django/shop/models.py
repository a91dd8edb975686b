from django.db import models


class ShopOrder(models.Model):
    id = models.CharField(primary_key=True, max_length=36)
    status = models.CharField(max_length=20, default="new")     # new, paid, shipped
