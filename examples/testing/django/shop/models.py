from django.db import models


class ShopOrder(models.Model):
    id = models.CharField(primary_key=True, max_length=36)
    status = models.CharField(max_length=20, default="new")     # new, paid, shipped, refunded, cancelled
    version = models.IntegerField(default=1)

    def save(self, *args, **kwargs):
        if not self._state.adding:
            self.version += 1     # the guard refuses a stale object: OperationalError, 40001
        super().save(*args, **kwargs)
