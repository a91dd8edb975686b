#!/usr/bin/python3
"""make console: a throwaway server, a day of a shop, and the console on a free port of the loopback. Ends with Ctrl-C."""
import os
import signal
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
import shop  # noqa: E402

TEXT = """
Open {address} and sign in: each person's password is the name.

    ana, ben   settle cases; what one of them asks for the other one decides
    sue        reads them

Try order 1042, which was paid twice; order 1017, of which too little came; or look for customer-4711.
A statement to upload, of the channel card: {statement}
The console's log: {log}

Ctrl-C ends it, and removes everything."""


def main():
    print("A day of a shop is simulated. That takes some seconds.", flush=True)
    with shop.lived_through() as server, shop.served(server) as (address, log):
        statement = os.path.join(server.folder, "statement.csv")
        with open(statement, "w", encoding="utf-8") as file:
            file.write(shop.statement())
        print(TEXT.format(address=address, statement=statement, log=log), flush=True)
        try:
            signal.pause()
        except KeyboardInterrupt:
            print()


if __name__ == "__main__":
    main()
