"""What the clients in Python share: TAP, and the bodies of messages, which are kept as they were sent."""
import os

SRC = os.environ["PAYGUARD_SRC"]
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


RECORD = "SELECT result FROM payguard.record_notification(%s, %s)"
LATEST = "SELECT encode(body, 'hex') FROM payguard.notifications WHERE channel = %s ORDER BY received_at DESC LIMIT 1"


def bodies(client, record, latest, refused):
    """Each body of bodies.txt is kept byte for byte, and as a text and as bytes it is one event.

    record(channel, body) sends a str or bytes and returns the result; latest(channel) is the body that was kept last, in
    hex; refused: the errors of the driver for a text with a NUL.
    """
    with open(os.path.join(SRC, "test/clients/bodies.txt"), encoding="utf-8") as file:
        lines = [line.rstrip("\n").split(" ", 2) for line in file if not line.startswith("#")]
    for kind, code, what in lines:
        body = bytes.fromhex(code)
        results = [record(client, form) for form in (body.decode() if kind == "text" else body, body)]
        kept = latest(client)
        ok(results == ["unmatched", "duplicate"] and kept == code, f"{client}: {what}: {results} {kept}")
    raises(refused, lambda: record(client, "a\0b"), f"{client}: a NUL in a text")
    ok(latest(client) == lines[-1][1], f"{client}: which is not kept")


def done():
    print(f"1..{count}")
    raise SystemExit(1 if failed else 0)
