"""What the clients in Python share: TAP, the rows of each, what must be true whoever writes."""
import os

PORT = os.environ["PGPORT"]
HOST = os.environ["PGHOST"]
DSN = f"host={HOST} port={PORT} user=shop dbname=postgres"
count = 0
failed = 0


def ok(good, name):
    global count, failed
    count += 1
    failed += not good
    print(f"{'ok' if good else 'not ok'} {count} - {name}")


def raises(errors, action, name, check=lambda error: True):
    """The action must raise one of the errors, and the error must be as expected."""
    try:
        action()
    except errors as error:
        ok(check(error), f"{name}: {type(error).__module__}.{type(error).__name__}")
    except Exception as error:
        ok(False, f"{name}: {type(error).__module__}.{type(error).__name__}: {error}")
    else:
        ok(False, f"{name}: no error")


def done():
    print(f"1..{count}")
    raise SystemExit(1 if failed else 0)
